//! Secrets: of the environment, and of a file.

use super::world::Backend;

super::tests![a_secret_of_the_environment_is_read, secrets_of_a_file_are_read_one_by_one_and_all_at_once];

async fn a_secret_of_the_environment_is_read(backend: Backend) {
    // One that there is everywhere.
    const NAME: &str = "PATH";
    let world = backend.start().await;
    let app = world.app("app").env(NAME).start().await;
    let dapr = app.dapr();
    let secret = dapr.secrets("secretstore").get(NAME).await.unwrap();
    assert_eq!(secret.get(NAME).unwrap().expose(), std::env::var(NAME).unwrap());
    assert_eq!(secret.single(), secret.get(NAME));
    // What is not set is empty; Dapr's own variables are as if they were not.
    for name in ["NO_SUCH_VARIABLE", "APP_API_TOKEN", "DAPR_API_TOKEN"] {
        assert_eq!(dapr.secrets("secretstore").get(name).await.unwrap().get(name).unwrap().expose(), "", "{name}");
    }
    let error = dapr.secrets("nope").get(NAME).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::InvalidArgument));
    assert!(error.message().contains("nope"), "{}", error.message());
}

async fn secrets_of_a_file_are_read_one_by_one_and_all_at_once(backend: Backend) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"password": "hidden", "db": {"user": "me", "port": 5}}"#).unwrap();
    let path = file.path().display().to_string();
    let world =
        backend.builder().component("vault", "secretstores.local.file", &[("secretsFile", &path)]).start().await;
    let app = world.app("app").start().await;
    let vault = app.dapr().secrets("vault");
    assert_eq!(vault.get("password").await.unwrap().single().unwrap().expose(), "hidden");
    assert_eq!(vault.get("db:user").await.unwrap().single().unwrap().expose(), "me");
    let all = vault.get_bulk().await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["db:port", "db:user", "password"]);
    let error = vault.get("none").await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::Internal));
    assert!(!format!("{all:?}").contains("hidden"));
}
