//! Configuration: read, and watched while it changes.

use super::world::Backend;
use crate::real::PATIENCE;
use tokio::time::timeout;

super::tests![items_are_read, changes_are_told_also_after_the_sidecar_came_back];

async fn items_are_read(backend: Backend) {
    let world = backend.start().await;
    world.configure("tea", "mint", 1);
    world.configure("cup", "blue", 1);
    let app = world.app("app").start().await;
    let store = app.dapr().configuration("configstore");
    let items = store.get(["tea", "none"]).await.unwrap();
    assert_eq!(items.keys().collect::<Vec<_>>(), ["tea"]);
    assert_eq!(items["tea"].value, "mint");
    assert!(!items["tea"].version.is_empty());
    let all = store.get(<[&str; 0]>::default()).await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["cup", "tea"]);
    let error = app.dapr().configuration("nope").get(["tea"]).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::InvalidArgument));
    assert!(error.message().contains("nope"), "{}", error.message());
}

async fn changes_are_told_also_after_the_sidecar_came_back(backend: Backend) {
    let world = backend.start().await;
    world.configure("tea", "mint", 1);
    let mut app = world.app("app").start().await;
    let dapr = app.dapr();
    let mut changes = dapr.configuration("configstore").subscribe(["tea", "cup"]);
    let mut next = async || timeout(PATIENCE, changes.next()).await.expect("told").unwrap().unwrap();
    // First as they are.
    let first = next().await;
    assert_eq!(first["tea"].value, "mint");
    world.configure("other", "x", 1);
    world.configure("tea", "sencha", 2);
    let items = next().await;
    assert_eq!((items.len(), items["tea"].value.as_str()), (1, "sencha"));
    // Of whose making it is, the administrator's in Redis, differs.
    assert_ne!(items["tea"].version, first["tea"].version);
    world.configure("cup", "blue", 1);
    assert_eq!(next().await["cup"].value, "blue");
    world.unconfigure("cup");
    assert_eq!(next().await["cup"].value, "");

    app.restart().await;
    // All items, as they are now: none that changed meanwhile is missed.
    assert_eq!(next().await["tea"].value, "sencha");
    world.configure("tea", "barley", 3);
    assert_eq!(next().await["tea"].value, "barley");

    let mut none = dapr.configuration("nope").subscribe(["tea"]);
    assert!(timeout(PATIENCE, none.next()).await.unwrap().unwrap().is_err());
}
