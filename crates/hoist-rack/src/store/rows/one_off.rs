//! Rows of one-offs.

use rusqlite::{Connection, Row, params};

use super::{SqlResult, parse, time};
use crate::store::{OneOffEnd, OneOffRecord, StoreError};

pub(in crate::store) fn put_one_off(
    connection: &Connection,
    one_off: &OneOffRecord,
) -> SqlResult<()> {
    let end = one_off.ended.as_ref();
    connection
        .execute(
            "INSERT INTO one_offs (id, app, service, release, command, actor, attached, created_ms, ended_ms,
                                   exit_code, exit_signal, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET ended_ms = excluded.ended_ms, exit_code = excluded.exit_code,
                 exit_signal = excluded.exit_signal, reason = excluded.reason",
            params![
                one_off.id.as_str(),
                one_off.app.as_str(),
                one_off.service.as_str(),
                one_off.release.as_str(),
                one_off.command,
                one_off.actor,
                one_off.attached,
                one_off.created.0 as i64,
                end.map(|end| end.at.0 as i64),
                end.and_then(|end| end.code),
                end.and_then(|end| end.signal),
                end.and_then(|end| end.reason.as_deref()),
            ],
        )
        .map(drop)
}

pub(in crate::store) const ONE_OFF_COLUMNS: &str = "id, app, service, release, command, actor, attached, created_ms, \
     ended_ms, exit_code, exit_signal, reason";

pub(in crate::store) fn get_one_off(row: &Row<'_>) -> SqlResult<Result<OneOffRecord, StoreError>> {
    let names: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
    let (command, actor, attached, created) =
        (row.get(4)?, row.get(5)?, row.get(6)?, time(row.get(7)?));
    let ended = match row.get::<_, Option<i64>>(8)? {
        None => None,
        Some(at) => Some(OneOffEnd {
            at: time(at),
            code: row.get(9)?,
            signal: row.get(10)?,
            reason: row.get(11)?,
        }),
    };
    Ok((|| {
        let [id, app, service, release] = &names;
        Ok(OneOffRecord {
            id: parse(id)?,
            app: parse(app)?,
            service: parse(service)?,
            release: parse(release)?,
            command,
            actor,
            attached,
            created,
            ended,
        })
    })())
}
