//! `bindings.localstorage`: files below one directory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use uuid::Uuid;

use super::Operation;

#[derive(Debug)]
pub(in crate::sidecar) struct LocalStorage {
    root: PathBuf,
}

// ===== impl LocalStorage =====

impl LocalStorage {
    pub(super) const OPERATIONS: [&str; 4] = ["create", "get", "list", "delete"];

    /// Makes the directory when it is not there.
    ///
    /// # Errors
    /// When it can neither be made nor resolved.
    pub(in crate::sidecar) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// # Errors
    /// What the binding of daprd says.
    pub(super) fn invoke(&self, operation: Operation) -> Result<Vec<u8>, String> {
        let name = file_name(&operation.metadata).map(str::to_owned);
        match (operation.kind.as_str(), name) {
            ("create", name) => self.create(&name.unwrap_or_else(|| Uuid::new_v4().to_string()), operation.data),
            ("get", name) => {
                let path = self.path(&name.unwrap_or_default())?;
                fs::read(&path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => format!("file not found: {}", path.display()),
                    _ => format!("error reading file {}: {error}", path.display()),
                })
            }
            ("delete", name) => {
                let path = self.path(&name.unwrap_or_default())?;
                let done = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
                done.map(|()| Vec::new()).map_err(|error| format!("error deleting file {}: {error}", path.display()))
            }
            (_, name) => self.list(&name.unwrap_or_default()),
        }
    }

    fn create(&self, name: &str, data: Vec<u8>) -> Result<Vec<u8>, String> {
        let path = self.path(name)?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .map_err(|error| format!("error creating directory {}: {error}", parent.display()))?;
        fs::write(&path, decoded(data)).map_err(|error| format!("error creating file {}: {error}", path.display()))?;
        let relative = path.strip_prefix(&self.root).unwrap_or(&path);
        Ok(json!({ "fileName": relative.to_string_lossy() }).to_string().into_bytes())
    }

    fn list(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.path(name)?;
        let kind =
            fs::metadata(&path).map_err(|error| format!("error getting stats for path {}: {error}", path.display()))?;
        if !kind.is_dir() {
            let path = path.display();
            return Err(format!("unable to list files as the file specified is not a directory: {path}"));
        }
        let mut files = Vec::new();
        walk(&path, &mut files)
            .map_err(|error| format!("error listing files in the directory {}: {error}", path.display()))?;
        files.sort();
        // Go writes an empty slice that was never made as null.
        Ok(if files.is_empty() { b"null".to_vec() } else { json!(files).to_string().into_bytes() })
    }

    /// Below the root, whatever the name says: `..` ends at the root, and a link that leads out is refused.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        let mut path = self.root.clone();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::ParentDir if path != self.root => _ = path.pop(),
                _ => {}
            }
        }
        let existing = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(&self.root);
        match existing.canonicalize() {
            Ok(real) if real.starts_with(&self.root) => Ok(path),
            _ => Err(format!("error getting absolute path for file {name}: it leads out of the directory")),
        }
    }
}

/// A JSON string stands for its text, and base64 for its bytes: what daprd does to what its HTTP API gets.
fn decoded(data: Vec<u8>) -> Vec<u8> {
    let data = serde_json::from_slice::<String>(&data).map(String::into_bytes).unwrap_or(data);
    STANDARD.decode(&data).unwrap_or(data)
}

fn file_name(metadata: &HashMap<String, String>) -> Option<&str> {
    metadata.get("fileName").map(String::as_str).filter(|name| !name.is_empty())
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Links are listed and not followed.
        if entry.file_type()?.is_dir() { walk(&entry.path(), files)? } else { files.push(entry.path()) }
    }
    Ok(())
}
