use std::{env, path::PathBuf};

/// Where the components are.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub daprd: PathBuf,
    pub placement: PathBuf,
    pub scheduler: PathBuf,
    pub jaeger: PathBuf,
    pub redis: PathBuf,
}

impl Binaries {
    /// Looks for them in `TOWER_DAPR_REAL_BIN`, which defaults to `target/real`; for Redis in `PATH`.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    pub fn find() -> Result<Self, String> {
        let folder =
            env::var_os("TOWER_DAPR_REAL_BIN").map_or_else(|| super::root().join("target/real"), PathBuf::from);
        let built = |name: &str| {
            let path = folder.join(name);
            let missing = || format!("{} is missing: run tests/real/build", path.display());
            if path.is_file() { Ok(path) } else { Err(missing()) }
        };
        let paths = env::var_os("PATH").unwrap_or_default();
        let redis = env::split_paths(&paths).map(|folder| folder.join("redis-server")).find(|path| path.is_file());
        Ok(Self {
            daprd: built("daprd")?,
            placement: built("placement")?,
            scheduler: built("scheduler")?,
            jaeger: built("jaeger")?,
            redis: redis.ok_or("redis-server is missing: install it (Debian: apt-get install redis-server)")?,
        })
    }
}
