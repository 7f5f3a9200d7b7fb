//! Captures and materializations that name one of the catalog's endpoints become tasks with bindings.

use std::collections::{BTreeMap, HashMap};

use super::File;
use crate::Place;
use crate::diagnostic::{Report, nearest};
use crate::names::{self, Form};
use crate::parse::{NamedUse, RawCapture, RawEndpoint, RawMaterialization, Word};

/// The endpoints with a name, and where.
type Endpoints = BTreeMap<String, (Place, Option<RawEndpoint>)>;

/// By endpoint, the task that has its bindings: its file and its index there.
type Tasks = HashMap<String, (usize, usize)>;

/// Gives the files the tasks of their named endpoints: one for each endpoint that is used without a name of the task's own.
pub(super) fn give_tasks(files: &mut [File], complete: bool, report: &mut Report) {
    let mut endpoints = Endpoints::new();
    for (name, endpoint) in files.iter_mut().flat_map(|file| std::mem::take(&mut file.raw.endpoints)) {
        names::check("endpoint", &name, Form::Path, report);
        if let Some((first, _)) = endpoints.get(&name.value) {
            let message = format!("there is more than one endpoint `{}`", name.value);
            report.error("name-duplicate", name.place, message).related(*first, "it is first defined here");
            continue;
        }
        endpoints.insert(name.value, (name.place, endpoint));
    }
    let (mut captures, mut materializations): (Tasks, Tasks) = Default::default();
    for at in 0..files.len() {
        for used in std::mem::take(&mut files[at].raw.named_captures) {
            let NamedUse { name, endpoint: by, binding } = used;
            let endpoint = resolve(&by, &endpoints, complete, report);
            match captures.get(&by.value).copied().filter(|_| name.is_none()) {
                Some((file, index)) => files[file].raw.captures[index].bindings.push(binding),
                None => {
                    let list = &mut files[at].raw.captures;
                    if name.is_none() {
                        captures.insert(by.value.clone(), (at, list.len()));
                    }
                    list.push(RawCapture::of(name.unwrap_or(by), endpoint, binding));
                }
            }
        }
        for used in std::mem::take(&mut files[at].raw.named_materializations) {
            let NamedUse { name, endpoint: by, binding } = used;
            let endpoint = resolve(&by, &endpoints, complete, report);
            match materializations.get(&by.value).copied().filter(|_| name.is_none()) {
                Some((file, index)) => files[file].raw.materializations[index].bindings.push(binding),
                None => {
                    let list = &mut files[at].raw.materializations;
                    if name.is_none() {
                        materializations.insert(by.value.clone(), (at, list.len()));
                    }
                    let bindings = vec![binding];
                    list.push(RawMaterialization { name: name.unwrap_or(by), endpoint, bindings });
                }
            }
        }
    }
}

fn resolve(name: &Word, endpoints: &Endpoints, complete: bool, report: &mut Report) -> Option<RawEndpoint> {
    match endpoints.get(&name.value) {
        Some((_, endpoint)) => endpoint.clone(),
        None if complete => {
            let message = format!("endpoint `{}` is not defined", name.value);
            let error = report.error("endpoint-not-defined", name.place, message);
            match nearest(&name.value, endpoints.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("define it in `endpoints`"),
            };
            None
        }
        None => None,
    }
}
