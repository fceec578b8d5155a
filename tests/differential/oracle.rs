//! The same query as a batch in DataFusion, with its default optimizer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use tokio::runtime::Runtime;

use super::answer::Answer;
use super::data::{Data, LISTS, STREAMS, World};
use super::value::read;

pub(super) struct Oracle {
    runtime: Runtime,
    context: SessionContext,
}

impl Oracle {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
        Self { runtime, context: SessionContext::new_with_config(config) }
    }

    /// Puts the data in place of what was there.
    pub(super) fn load(&self, world: &World, data: &Data) {
        let streams = STREAMS.iter().enumerate().map(|(index, name)| (*name, world.table(data, index)));
        let lists = LISTS.iter().enumerate().map(|(index, (name, ..))| (*name, world.list(data, index)));
        for (name, rows) in streams.chain(lists) {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            self.context.deregister_table(name).unwrap();
            self.context.register_table(name, Arc::new(table)).unwrap();
        }
    }

    pub(super) fn answer(&self, sql: &str) -> Result<Answer, String> {
        let run = || self.runtime.block_on(async { self.context.sql(sql).await?.collect().await });
        let collected = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| said(&*panic))?;
        let batches = collected.map_err(|failure| failure.strip_backtrace())?;
        let mut answer = Answer::default();
        for batch in &batches {
            answer.types = batch.columns().iter().map(|column| column.data_type().clone()).collect();
            for row in 0..batch.num_rows() {
                answer.rows.push(batch.columns().iter().map(|column| read(column, row)).collect());
            }
        }
        Ok(answer)
    }
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}
