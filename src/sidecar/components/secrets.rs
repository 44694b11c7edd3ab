//! Secret stores: the environment, a JSON file, or given values (`dapr/components-contrib:secretstores/local`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Never shown by `Debug`.
#[derive(Clone)]
pub(in crate::sidecar) enum SecretStore {
    /// `secretstores.local.env`: the variables whose names begin with this prefix, without it.
    Environment { prefix: String },
    /// `secretstores.local.file`, or values from a test: by name, then by key.
    Values(BTreeMap<String, BTreeMap<String, String>>),
}

// ===== impl SecretStore =====

impl SecretStore {
    pub(in crate::sidecar) fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::Values(pairs.into_iter().map(alone).collect())
    }

    /// Nested objects become names that are joined with the separator. With several values for each secret, an object
    /// at the top is one secret.
    ///
    /// # Errors
    /// When the text is no JSON object, or has an array in it.
    pub(in crate::sidecar) fn of_json(text: &[u8], separator: &str, is_multi_valued: bool) -> Result<Self, String> {
        let Value::Object(members) = serde_json::from_slice(text).map_err(|error| error.to_string())? else {
            return Err("the secrets file is not a JSON object".to_owned());
        };
        let mut secrets = BTreeMap::new();
        for (name, value) in members {
            let mut pairs = Vec::new();
            match value {
                Value::Object(members) if is_multi_valued => {
                    for (key, value) in members {
                        flatten(key, value, separator, &mut pairs)?;
                    }
                    secrets.insert(name, pairs.into_iter().collect());
                }
                value => {
                    flatten(name, value, separator, &mut pairs)?;
                    secrets.extend(pairs.into_iter().map(alone));
                }
            }
        }
        Ok(Self::Values(secrets))
    }

    /// The values of one secret, by key.
    ///
    /// # Errors
    /// What the store of daprd says. The environment knows every name: what is not set is empty.
    pub(in crate::sidecar) fn get(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        match self {
            Self::Environment { prefix } => {
                let variable = format!("{prefix}{name}");
                let is_allowed = is_allowed(&variable);
                let value = if is_allowed { std::env::var(variable).unwrap_or_default() } else { String::new() };
                Ok(BTreeMap::from([(name.to_owned(), value)]))
            }
            Self::Values(values) => values.get(name).cloned().ok_or_else(|| format!("secret {name} not found")),
        }
    }

    pub(in crate::sidecar) fn all(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        match self {
            Self::Environment { prefix } => std::env::vars_os()
                // What is not UTF-8 cannot be a secret.
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| is_allowed(name))
                .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)))
                .filter(|(name, _)| !name.is_empty())
                .map(alone)
                .collect(),
            Self::Values(values) => values.clone(),
        }
    }

    pub(in crate::sidecar) const fn kind(&self) -> &'static str {
        match self {
            Self::Environment { .. } => "secretstores.local.env",
            Self::Values(_) => "secretstores.local.file",
        }
    }
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretStore({})", self.kind())
    }
}

/// The sidecar's own tokens are nobody's secrets.
fn is_allowed(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name != "APP_API_TOKEN" && !name.starts_with("DAPR_")
}

/// A secret of one value has its own name for a key.
fn alone((name, value): (String, String)) -> (String, BTreeMap<String, String>) {
    (name.clone(), BTreeMap::from([(name, value)]))
}

fn flatten(name: String, value: Value, separator: &str, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                flatten(format!("{name}{separator}{key}"), value, separator, pairs)?;
            }
        }
        Value::Array(_) => return Err(format!("secret {name:?} is an array")),
        Value::String(text) => pairs.push((name, text)),
        Value::Null => pairs.push((name, String::new())),
        scalar => pairs.push((name, scalar.to_string())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_secrets_get_joined_names() {
        let store = SecretStore::of_json(br#"{"db": {"user": "u", "port": 1}, "key": "k"}"#, ":", false).unwrap();
        assert_eq!(store.get("db:user").unwrap(), BTreeMap::from([("db:user".to_owned(), "u".to_owned())]));
        assert_eq!(store.get("db").unwrap_err(), "secret db not found");
        assert_eq!(store.all().len(), 3);
        assert_eq!(format!("{store:?}"), "SecretStore(secretstores.local.file)");
        for broken in ["[]", "{", r#"{"a": [1]}"#] {
            assert!(SecretStore::of_json(broken.as_bytes(), ":", false).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_environment_keeps_the_sidecars_tokens_to_itself() {
        assert_eq!(SecretStore::Environment { prefix: String::new() }.get("no such").unwrap()["no such"], "");
        assert_eq!(SecretStore::Environment { prefix: "DAPR_".to_owned() }.all(), BTreeMap::new());
        assert!(!is_allowed("DAPR_API_TOKEN") && !is_allowed("app_api_token") && is_allowed("HOME"));
    }
}
