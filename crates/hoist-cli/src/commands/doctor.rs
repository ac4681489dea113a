//! `hoist doctor`: what each loop waits for, and what isolation this machine gives.

use hoist_api::endpoints::DoctorGet;
use hoist_api::types::{Doctor, Empty};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

pub(crate) async fn run(context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let doctor = context
        .client()?
        .call::<DoctorGet>(&Empty {}, &Empty {}, &Empty {})
        .await?;
    context.out.data(&doctor, table)
}

fn table(doctor: &Doctor) -> Table {
    let rows = doctor.sections.iter().flat_map(|section| {
        section.items.iter().map(|item| {
            [
                section.name.as_str().into(),
                item.name.as_str().into(),
                Cell::word(item.state.as_str()),
                item.detail.as_str().into(),
            ]
        })
    });
    Table::list(["SECTION", "NAME", "STATE", "DETAIL"], rows)
}
