//! The four services. Nothing in their handlers knows of telemetry: it is in the layers around them.

use std::fmt;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_dapr::{
    Error,
    cloudevent::CloudEventLayer,
    event::{Event, Outcome},
    inbound::{InboundLayer, Rejected, RequireApiTokenLayer, SubscriptionError, Subscriptions, Topic},
    outbound::{Builder, Dapr},
    telemetry::Telemetry,
};
use tracing::{info, instrument, warn};

use crate::order::Order;

const STORE: &str = "statestore";
const PUBSUB: &str = "pubsub";
const TOPIC: &str = "orders";

/// A service of the shop, and its app id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Order,
    Inventory,
    Payment,
    Notification,
}

impl Service {
    pub const ALL: [Self; 4] = [Self::Order, Self::Inventory, Self::Payment, Self::Notification];

    pub const fn app_id(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Notification => "notification",
        }
    }

    pub fn of_app_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.app_id() == id)
    }

    /// The service's routes, inside the ready inbound stack; all but `/healthz` for those only who have the token.
    pub fn router(
        self,
        dapr: Dapr,
        telemetry: &Telemetry,
        token: Option<RequireApiTokenLayer>,
    ) -> Result<Router, SubscriptionError> {
        let mut events = CloudEventLayer::new();
        let mut inbound = InboundLayer::new();
        if let (Some(traces), Some(metrics)) = (telemetry.tracer_provider(), telemetry.meter_provider()) {
            events = events.with_tracer_provider(traces);
            inbound = inbound.with_tracer_provider(traces).with_meter_provider(metrics);
        }
        let subscriptions = Subscriptions::new().with_cloud_event_layer(events).require_api_token(token.clone());
        let own = |path, handler| {
            let routes = Router::new().route(path, handler);
            if let Some(token) = token { routes.layer(token) } else { routes }
        };
        let orders = Topic::new(PUBSUB, TOPIC).route("/events/orders");
        let router = match self {
            Self::Order => subscriptions.into_router()?.merge(own("/orders", post(place_order))),
            Self::Inventory => subscriptions.topic(orders, reserve).into_router()?.merge(own("/check", post(check))),
            Self::Payment => subscriptions.topic(orders, pay).into_router()?,
            Self::Notification => subscriptions.topic(orders, notify).into_router()?,
        };
        Ok(router.layer(inbound).with_state(dapr))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.app_id())
    }
}

/// A handle to Dapr whose calls are recorded with this telemetry.
pub fn observed(builder: Builder, telemetry: &Telemetry) -> Builder {
    match (telemetry.tracer_provider(), telemetry.meter_provider()) {
        (Some(traces), Some(metrics)) => builder.tracer_provider(traces).meter_provider(metrics),
        _ => builder,
    }
}

// ===== order =====

/// Checks the stock, saves the order, and tells the others.
#[instrument(skip_all, fields(order.id = %order.id))]
async fn place_order(State(dapr): State<Dapr>, Json(order): Json<Order>) -> Result<Response, Failed> {
    if let Err(reason) = order.check() {
        return Ok((StatusCode::BAD_REQUEST, Json(json!({ "error": reason }))).into_response());
    }
    let check: Check = dapr.invoke("inventory").post("check").json(&order).send().await?.json()?;
    if order.quantity > check.available {
        let refusal = json!({ "error": "out of stock", "available": check.available });
        return Ok((StatusCode::CONFLICT, Json(refusal)).into_response());
    }
    dapr.state(STORE).save(format!("order:{}", order.id), &order).await?;
    // The id is the order's own: a subscriber can tell a repeated event from a new one.
    dapr.publish(PUBSUB, TOPIC).json(&order).id(&order.id).event_type("order.placed.v1").await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": order.id }))).into_response())
}

/// A call to Dapr failed: the caller learns that, and the log learns why.
struct Failed(Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        warn!(error = %self.0, message = self.0.message(), "the order was not taken");
        let status = if self.0.is_unavailable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
        (status, Json(json!({ "error": self.0.to_string() }))).into_response()
    }
}

// ===== inventory =====

/// What a new article starts with.
const INITIAL_STOCK: u32 = 500;
/// How many of the last orders an article remembers, to recognise a repeated event.
const REMEMBERED: usize = 64;
/// How often a reservation is tried when others write the same article.
const TRIES: usize = 20;

#[derive(Debug, Serialize, Deserialize)]
struct Check {
    available: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stock {
    available: u32,
    reserved_for: Vec<String>,
}

#[instrument(skip_all)]
async fn check(State(dapr): State<Dapr>, Json(order): Json<Order>) -> Result<Json<Check>, Failed> {
    let stock = dapr.state(STORE).get::<Stock>(stock_key(&order.sku)).await?;
    let available = stock.map_or_else(|| initial_stock(&order.sku), |entry| entry.value.available);
    Ok(Json(Check { available }))
}

/// Takes the order's articles out of the stock; the etag sees to it that no other reservation is overwritten.
#[instrument(skip_all)]
async fn reserve(State(dapr): State<Dapr>, event: Event<Order>) -> Result<Outcome, Rejected> {
    let order = &event.data;
    let store = dapr.state(STORE);
    let key = stock_key(&order.sku);
    for _ in 0..TRIES {
        let (mut stock, etag) = match store.get::<Stock>(&key).await? {
            Some(entry) => (entry.value, Some(entry.etag)),
            None => (Stock { available: initial_stock(&order.sku), reserved_for: Vec::new() }, None),
        };
        if stock.reserved_for.contains(&order.id) {
            return Ok(Outcome::Success);
        }
        if stock.available < order.quantity {
            warn!(order.id, "sold out between the check and the reservation");
            return Ok(Outcome::Drop);
        }
        stock.available -= order.quantity;
        stock.reserved_for.push(order.id.clone());
        let forget = stock.reserved_for.len().saturating_sub(REMEMBERED);
        stock.reserved_for.drain(..forget);
        let save = store.save(&key, &stock);
        let saved = match etag {
            Some(etag) => save.if_match(etag).await,
            None => save.first_write().await,
        };
        match saved {
            Err(error) if error.is_etag_mismatch() => {}
            saved => return Ok(saved.map(|()| Outcome::Success)?),
        }
    }
    Ok(Outcome::Retry)
}

fn stock_key(sku: &str) -> String {
    format!("stock:{sku}")
}

fn initial_stock(sku: &str) -> u32 {
    const CATALOGUE: [&str; 15] = [
        "café-☕-set",
        "cocoa",
        "coffee-ethiopia",
        "coffee-guatemala",
        "coffee-robusta",
        "mug-blue",
        "mug-red",
        "spoon",
        "tea-barley",
        "tea-black",
        "tea-earl-grey",
        "tea-masala",
        "tea-mint",
        "tea-oolong",
        "tea-sencha",
    ];
    if CATALOGUE.contains(&sku) { INITIAL_STOCK } else { 0 }
}

// ===== payment and notification =====

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    customer: String,
    quantity: u32,
}

#[instrument(skip_all)]
async fn pay(State(dapr): State<Dapr>, event: Event<Order>) -> Result<(), Rejected> {
    let Order { id, customer, quantity, .. } = event.data;
    // The same key for a repeated event: paid once.
    dapr.state(STORE).save(format!("payment:{id}"), &Payment { customer, quantity }).await?;
    Ok(())
}

#[instrument(skip_all)]
async fn notify(State(dapr): State<Dapr>, event: Event<Order>) -> Result<(), Rejected> {
    let Order { id, customer, .. } = event.data;
    info!(order.id = id, "{customer} was told");
    dapr.state(STORE).save(format!("notification:{id}"), &customer).await?;
    Ok(())
}
