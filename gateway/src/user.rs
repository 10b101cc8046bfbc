//! `mailrail user`: lets users in and says what they may do, over HTTP. It opens nothing that is the broker's.

use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, header};
use serde_json::{Value, json};

use crate::client::{self, Asked, say};
use crate::config::{ClientFlags, RuleFlags, SettingsError, UserFlags, UserVerb, password_in};

/// How long the whole conversation may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Says on standard output what became of it. The inner error is the one line of why nothing did.
pub fn run(flags: UserFlags) -> Result<Result<(), String>, SettingsError> {
    match flags.verb {
        UserVerb::Add { name, new_password_file, signing_secret_file, admin, enabled, client } => {
            let mut change = json!({});
            let read = |path: Option<&Path>| path.map(password_in).transpose();
            let fields = [
                ("password", read(new_password_file.as_deref())?.map(Value::from)),
                ("signing_secret", read(signing_secret_file.as_deref())?.map(Value::from)),
                ("admin", admin.map(Value::from)),
                ("enabled", enabled.map(Value::from)),
            ];
            fields.into_iter().for_each(|(key, value)| {
                value.into_iter().for_each(|value| change[key] = value);
            });
            tell(&client, &format!("{name}: saved"), |broker| async move {
                broker.ask(Method::PUT, &user(&name), Some(change)).await
            })
        }
        UserVerb::Remove { name, client } => {
            tell(&client, &format!("{name}: removed"), |broker| async move {
                broker.ask(Method::DELETE, &user(&name), None).await
            })
        }
        UserVerb::List { client } => list(&client),
        UserVerb::Permit { name, rule, client } => tell(
            &client,
            &format!("{name}: {}", if rule.deny { "denied" } else { "permitted" }),
            |broker| async move {
                let path = format!("{}/permissions", user(&name));
                let mut all = broker.ask(Method::GET, &path, None).await?;
                all["permissions"]
                    .as_array_mut()
                    .ok_or("the answer lists no permissions")?
                    .push(document(&rule));
                broker.ask(Method::PUT, &path, Some(all)).await
            },
        ),
        UserVerb::Forbid { name, client } => {
            tell(&client, &format!("{name}: without permissions"), |broker| async move {
                let none = json!({"permissions": []});
                broker.ask(Method::PUT, &format!("{}/permissions", user(&name)), Some(none)).await
            })
        }
    }
}

/// The rule of some flags, as the API has it.
fn document(rule: &RuleFlags) -> Value {
    let mut document = json!({
        "effect": if rule.deny { "deny" } else { "allow" },
        "actions": rule.actions,
        "resources": rule.on,
        "sources": rule.from,
    });
    let (key, text) = match (&rule.name_is, &rule.pattern) {
        (Some(name), _) => ("name", name.as_str()),
        (None, Some(pattern)) => ("pattern", pattern.as_str()),
        (None, None) => ("prefix", rule.prefix.as_deref().unwrap_or_default()),
    };
    document[key] = text.into();
    document
}

/// The path of a user, whatever its name is made of.
fn user(name: &str) -> String {
    let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/v1/users/{escaped}")
}

/// Says a line, or with `--json` the answer.
fn tell<F: Future<Output = Result<Value, String>>>(
    flags: &ClientFlags,
    line: &str,
    conversation: impl FnOnce(Broker) -> F,
) -> Result<Result<(), String>, SettingsError> {
    let broker = Broker(Asked::of(flags)?);
    Ok(client::run(conversation(broker)).map(|answer| {
        say(&if flags.json { answer.to_string() } else { line.to_owned() });
    }))
}

fn list(flags: &ClientFlags) -> Result<Result<(), String>, SettingsError> {
    let broker = Broker(Asked::of(flags)?);
    let pages = client::run(async move {
        let (mut users, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/users?max=20{after}");
            let mut page = broker.ask(Method::GET, &path, None).await?;
            users.append(page["users"].as_array_mut().ok_or("the answer lists no users")?);
            let Some(next) = page["next"].as_str() else { return Ok(users) };
            let escaped: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
            after = format!("&after={escaped}");
        }
    });
    Ok(pages.map(|users| {
        if flags.json {
            return say(&json!({ "users": users }).to_string());
        }
        for user in users {
            let is = |key: &str| user[key] == true;
            let rules = user["permissions"].as_array().map_or(0, Vec::len);
            let role = if is("admin") { "administrator" } else { "user" };
            let state = if is("enabled") { "" } else { ", disabled" };
            say(&format!(
                "{}: {role}{state}, permissions {rules}",
                user["user"].as_str().unwrap_or_default()
            ));
        }
    }))
}

struct Broker(Asked);

impl Broker {
    /// The document of a good answer; null where there is none.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let asked = tokio::time::timeout(TIMEOUT, self.converse(method, path, body)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()).into()));
        let (status, body) = asked.map_err(|error| format!("{} cannot be asked: {error}", self.0.address))?;
        if !status.is_success() {
            return Err(client::refused(self.0.address, status, &body));
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn converse(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(axum::http::StatusCode, Bytes), client::Error> {
        let request =
            Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.header(header::CONTENT_LENGTH, text.len());
        let response = self.0.send(request, Body::from(text)).await?;
        Ok((response.status(), client::whole_body(response).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_whatever_it_is_made_of() {
        assert_eq!(user("a/b \u{e4}"), "/v1/users/%61%2F%62%20%C3%A4");
    }
}
