//! Users, what they may do, and what was changed.

use mailrail_broker::{Action, AuditEntry, Effect, Pattern, ResourceKind, Rule, User};

use crate::instant::WallTime;
use crate::schema::user::{ActionName, ChangeView, EffectName, Permission, ResourceName, UserView};

pub(crate) fn user_view(user: &User) -> UserView {
    let settings = &user.settings;
    UserView {
        user: user.name.to_string(),
        admin: settings.admin,
        enabled: settings.enabled,
        has_password: settings.password.is_some(),
        has_signing_secret: settings.signing_secret.is_some(),
        permissions: permissions(user),
    }
}

pub(crate) fn permissions(user: &User) -> Vec<Permission> {
    user.settings.rules.iter().map(permission).collect()
}

fn permission(rule: &Rule) -> Permission {
    let (mut name, mut prefix, mut pattern) = (None, None, None);
    match &rule.names {
        Pattern::Literal(text) => name = Some(text.clone()),
        Pattern::Prefix(text) => prefix = Some(text.clone()),
        Pattern::Regex(text) => pattern = Some(text.clone()),
    }
    let effect = match rule.effect {
        Effect::Allow => EffectName::Allow,
        Effect::Deny => EffectName::Deny,
    };
    let action = |action: &Action| match action {
        Action::Publish => ActionName::Publish,
        Action::Consume => ActionName::Consume,
        Action::Configure => ActionName::Configure,
        Action::Describe => ActionName::Describe,
        Action::Administer => ActionName::Administer,
    };
    let kind = |kind: &ResourceKind| match kind {
        ResourceKind::Topic => ResourceName::Topic,
        ResourceKind::Group => ResourceName::Group,
        ResourceKind::Exchange => ResourceName::Exchange,
        ResourceKind::Cluster => ResourceName::Cluster,
    };
    Permission {
        effect,
        actions: rule.actions.iter().map(action).collect(),
        resources: rule.resources.iter().map(kind).collect(),
        name,
        prefix,
        pattern,
        routing_keys: rule.routing_keys.clone(),
        sources: rule.sources.clone(),
    }
}

pub(crate) fn change_view(entry: AuditEntry) -> ChangeView {
    let AuditEntry { number, at_ms, who, from, what, refused } = entry;
    ChangeView { number, time: WallTime(at_ms), user: who, address: from, change: what, refused }
}
