//! The list of operations as other crates see it: by type, and as values.

use std::collections::BTreeSet;

use hoist_api::Endpoint;
use hoist_api::endpoints::*;
use schemars::SchemaGenerator;

macro_rules! names {
    ($($operation:ident),+) => { vec![$(<$operation as Endpoint>::ID),+] };
}

#[test]
fn every_operation_can_be_mounted_by_its_type() {
    let by_type = hoist_api::for_each_operation!(names);
    let values: Vec<_> = operations(&mut SchemaGenerator::default())
        .iter()
        .map(|operation| operation.id)
        .collect();
    assert_eq!(by_type, values);
    assert_eq!(by_type.iter().collect::<BTreeSet<_>>().len(), by_type.len());
}
