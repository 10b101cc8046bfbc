//! The routes, and the OpenAPI document that is made of the same list.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use mailrail_broker::{Action, Resource};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::login::{authenticate, identified};
use crate::problem::{ItemProblem, Kind, Problem, Refusal};
use crate::resource::{
    audit, backup, bindings, events, exchanges, find, groups, health, lite, publish, read, recall, receive,
    settle, statistics, topics, trace, transactions, users,
};
use crate::state::RestState;

const DOCUMENT_PATH: &str = "/openapi.json";

/// What the document says beside its operations.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Mailrail",
        description = "A message broker that speaks REST, RocketMQ remoting and AMQP 0-9-1 over one durable log.\n\n\
            Every error is an RFC 9457 problem document. Its `type` is `urn:mailrail:problem:` and a name; each \
            response below lists the names it may have. `429`, `503` and `507` come with `Retry-After` where a later \
            try may succeed.",
    ),
    tags(
        (name = "topics", description = "Named sets of queues"),
        (name = "exchanges", description = "Routes from a name to the queues that are bound to it"),
        (name = "messages", description = "Publish, read by offset, time, id or key, and stream"),
        (name = "transactions", description = "Messages that are seen once they are committed, or stored together"),
        (name = "groups", description = "Consume by lease, settle, and move positions"),
        (name = "users", description = "Who may do what"),
        (name = "administration", description = "For whoever runs the broker"),
        (name = "health", description = "For load balancers and supervisors"),
    ),
    components(schemas(Problem, ItemProblem)),
    security((), ("password" = [])),
    modifiers(&PasswordScheme),
)]
struct Document;

struct PasswordScheme;

impl Modify for PasswordScheme {
    fn modify(&self, document: &mut OpenApi) {
        let description = "A user and its password. Without users, nobody need log in.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(description)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("password", SecurityScheme::Http(scheme));
    }
}

fn api() -> OpenApiRouter<RestState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(topics::list_topics))
        .routes(routes!(topics::put_topic, topics::get_topic, topics::delete_topic))
        .routes(routes!(lite::list_lites))
        .routes(routes!(lite::put_lite))
        .routes(routes!(exchanges::list_exchanges))
        .routes(routes!(exchanges::put_exchange, exchanges::get_exchange, exchanges::delete_exchange))
        .routes(routes!(bindings::list_bindings, bindings::put_binding, bindings::delete_bindings))
        .routes(routes!(publish::publish_messages))
        .routes(routes!(publish::publish_to_exchange))
        .routes(routes!(read::read_messages))
        .routes(routes!(read::get_message, recall::recall_message))
        .routes(routes!(trace::get_message_trace))
        .routes(routes!(find::find_messages, transactions::publish_together))
        .routes(routes!(transactions::begin_transaction, transactions::list_transactions))
        .routes(routes!(transactions::commit_transaction))
        .routes(routes!(transactions::roll_back_transaction))
        .routes(routes!(events::stream_events))
        .routes(routes!(groups::list_groups))
        .routes(routes!(groups::put_group, groups::get_group, groups::delete_group))
        .routes(routes!(groups::seek_group))
        .routes(routes!(receive::receive_messages))
        .routes(routes!(settle::settle_messages))
        .routes(routes!(settle::extend_leases))
        .routes(routes!(backup::get_backup))
        .routes(routes!(users::list_users))
        .routes(routes!(users::put_user, users::get_user, users::delete_user))
        .routes(routes!(users::put_permissions, users::get_permissions))
        .routes(routes!(audit::list_changes))
        .routes(routes!(statistics::get_statistics))
        .routes(routes!(statistics::get_topic_statistics))
        .routes(routes!(statistics::get_group_statistics))
        .routes(routes!(statistics::list_connections))
}

fn health_api() -> OpenApiRouter<RestState> {
    OpenApiRouter::new().routes(routes!(health::get_health)).routes(routes!(health::get_readiness))
}

/// The OpenAPI document of everything [`router`] serves under `/v1` and of the health checks.
pub fn openapi() -> OpenApi {
    api().merge(health_api()).into_openapi()
}

/// All routes of the REST surface: the API, health checks, `/openapi.json` and `/docs`. The server should offer
/// `ConnectInfo<SocketAddr>`, which becomes the born host of what is published.
pub fn router(state: RestState) -> Router {
    let document = Bytes::from(openapi().to_json().unwrap_or_default());
    let api = api()
        .route_layer(from_fn_with_state(state.clone(), authenticate))
        .route_layer(from_fn_with_state(state.clone(), refuse_while_stopping));
    let (router, _) = api.merge(health_api()).split_for_parts();
    router
        .route(DOCUMENT_PATH, get(move || health::get_document(document.clone())))
        .with_state(state)
        .merge(SwaggerUi::new("/docs").config(Config::from(DOCUMENT_PATH)))
        .fallback(no_such_resource)
        .method_not_allowed_fallback(method_not_allowed)
}

/// Routes beside the API that only those may ask who may see the cluster.
pub fn guarded(state: RestState, routes: Router) -> Router {
    routes.route_layer(from_fn_with_state(state, see_cluster))
}

async fn see_cluster(
    State(state): State<RestState>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (request, identity) = identified(&state, request).await?;
    state.on_behalf_of(identity).check(Action::Describe, Resource::CLUSTER)?;
    Ok(next.run(request).await)
}

async fn refuse_while_stopping(
    State(state): State<RestState>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if state.is_stopping() {
        return Err(Refusal::new(Kind::Stopping, "the broker is stopping"));
    }
    Ok(next.run(request).await)
}

async fn no_such_resource(request: Request) -> Refusal {
    let detail = format!("there is nothing at {}; {DOCUMENT_PATH} lists what there is", request.uri().path());
    Refusal::new(Kind::NoSuchResource, detail)
}

async fn method_not_allowed(request: Request) -> Refusal {
    let detail = format!("{} does not know {}", request.uri().path(), request.method());
    Refusal::new(Kind::MethodNotAllowed, detail)
}
