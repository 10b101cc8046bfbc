//! The rules by which a user may do something.

use mailrail_broker::{Action, Effect, Pattern, ResourceKind, Rule};

use crate::problem::Refusal;
use crate::schema::user::{ActionName, EffectName, Permission, ResourceName};

/// The rules of a user.
pub(crate) fn rules(permissions: Vec<Permission>) -> Result<Vec<Rule>, Refusal> {
    permissions.into_iter().enumerate().map(|(at, permission)| rule(at, permission)).collect()
}

fn rule(at: usize, permission: Permission) -> Result<Rule, Refusal> {
    let Permission { effect, actions, resources, name, prefix, pattern, routing_keys, sources } = permission;
    let names = match (name, prefix, pattern) {
        (Some(name), None, None) => Pattern::Literal(name),
        (None, Some(prefix), None) => Pattern::Prefix(prefix),
        (None, None, Some(pattern)) => Pattern::Regex(pattern),
        _ => {
            let detail = format!("permission {at} needs one of `name`, `prefix` and `pattern`, and no more");
            return Err(Refusal::invalid(detail));
        }
    };
    let effect = match effect {
        EffectName::Allow => Effect::Allow,
        EffectName::Deny => Effect::Deny,
    };
    let action = |name: &ActionName| match name {
        ActionName::Publish => Action::Publish,
        ActionName::Consume => Action::Consume,
        ActionName::Configure => Action::Configure,
        ActionName::Describe => Action::Describe,
        ActionName::Administer => Action::Administer,
    };
    let kind = |name: &ResourceName| match name {
        ResourceName::Topic => ResourceKind::Topic,
        ResourceName::Group => ResourceKind::Group,
        ResourceName::Exchange => ResourceKind::Exchange,
        ResourceName::Cluster => ResourceKind::Cluster,
    };
    let (actions, resources) = (actions.iter().map(action).collect(), resources.iter().map(kind).collect());
    Ok(Rule { effect, actions, resources, names, routing_keys, sources })
}
