use std::{fs, path::Path};

use super::root;

/// What a sidecar loads: the files of `deploy/`, but for what a test leaves out or adds.
#[derive(Debug, Default)]
pub struct Resources {
    pub without_resiliency: bool,
    /// Instead of `deploy/config.yaml`.
    pub config: Option<String>,
    /// Files beside those of `deploy/`, or instead of one. `$FOLDER` is where they are copied to.
    pub files: Vec<(String, String)>,
}

impl Resources {
    /// Copies them: into `resources`, and the configuration beside it.
    pub fn lay_out(&self, folder: &Path) {
        let deploy = root().join("deploy");
        let resources = folder.join("resources");
        fs::create_dir(&resources).unwrap();
        for entry in fs::read_dir(deploy.join("components")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), resources.join(entry.file_name())).unwrap();
        }
        fs::copy(deploy.join("config.yaml"), folder.join("config.yaml")).unwrap();
        if !self.without_resiliency {
            fs::copy(deploy.join("resiliency.yaml"), resources.join("resiliency.yaml")).unwrap();
        }
        if let Some(yaml) = &self.config {
            fs::write(folder.join("config.yaml"), yaml).unwrap();
        }
        for (file, yaml) in &self.files {
            fs::write(resources.join(file), yaml.replace("$FOLDER", &folder.display().to_string())).unwrap();
        }
    }
}
