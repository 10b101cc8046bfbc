//! The two ways to log in: PLAIN (RFC 4616) and AMQPLAIN (a field table without its length).
//!
//! Only reads names and passwords; whether they are right is asked outside.

use std::fmt;

use crate::codec::methods::ConnectionStartOk;
use crate::codec::{Arguments, ReplyCode, Table, Value};
use crate::fault::Fault;

/// Offered mechanisms, as `connection.start` lists them.
pub(super) const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// Who wants in.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Vec<u8>,
}

/// Without the password: logins are logged.
impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Reads the response of start-ok.
pub(super) fn read(method: &ConnectionStartOk<'_>) -> Result<Login, Fault> {
    let login = match method.mechanism {
        "PLAIN" => plain(method.response),
        "AMQPLAIN" => amqplain(method.response),
        other => {
            let text = format!("unknown authentication mechanism '{other}'; offered are {MECHANISMS}");
            return Err(Fault::new(ReplyCode::CommandInvalid, ConnectionStartOk::ID, text));
        }
    };
    login.ok_or_else(|| {
        let text = format!("the {} response is malformed", method.mechanism);
        Fault::new(ReplyCode::SyntaxError, ConnectionStartOk::ID, text)
    })
}

/// `[authzid] NUL user NUL password`
fn plain(response: &[u8]) -> Option<Login> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Login { user: std::str::from_utf8(user).ok()?.to_owned(), password: password.to_vec() })
}

fn amqplain(response: &[u8]) -> Option<Login> {
    let table = Table::check(response).ok()?;
    let user = table.get("LOGIN")?.as_text()?.to_owned();
    match table.get("PASSWORD")? {
        Value::Text(password) => Some(Login { user, password: password.to_vec() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuffer;

    fn check(mechanism: &str, response: &[u8]) -> Result<(String, Vec<u8>), u16> {
        let method =
            ConnectionStartOk { client_properties: Table::default(), mechanism, response, locale: "" };
        read(&method).map(|login| (login.user, login.password)).map_err(|fault| fault.code.number())
    }

    #[test]
    fn plain_and_amqplain_name_user_and_password() {
        let expected = Ok(("guest".to_owned(), b"pa\0ss".to_vec()));
        assert_eq!(check("PLAIN", b"\0guest\0pa\0ss"), expected);
        assert_eq!(check("PLAIN", b"guest\0guest\0pa\0ss"), expected);
        let mut table = TableBuffer::default();
        table.put_text("LOGIN", "guest").put("PASSWORD", Value::Text(b"pa\0ss"));
        assert_eq!(check("AMQPLAIN", table.as_table().as_bytes()), expected);
    }

    #[test]
    fn malformed_responses_and_unknown_mechanisms_have_their_codes() {
        for (mechanism, response, code) in [
            ("PLAIN", &b"guest"[..], 502),
            ("PLAIN", b"\0guest", 502),
            ("PLAIN", b"\0\xff\0x", 502),
            ("AMQPLAIN", b"\x05LOGIN", 502),
            ("AMQPLAIN", b"", 502),
            ("EXTERNAL", b"", 503),
        ] {
            assert_eq!(check(mechanism, response), Err(code), "{mechanism} {response:?}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let login = Login { user: "u".to_owned(), password: b"secret".to_vec() };
        assert!(!format!("{login:?}").contains("115"));
    }
}
