//! What a job's rows are read from again, beside the job.

use crate::alert::AlertSettings;
use crate::cli::failure::Failure;
use crate::cli::history;
use crate::cli::service::{Identity, cluster, consumer_settings, kafka_settings, policy};
use crate::history::{History, HistoryError};
use crate::pipeline::{RecoveryPolicy, Retrace};
use crate::rules::RuleSet;
use crate::settings::Settings;
use crate::source::kafka::ConsumerSettings;

/// Where a job's rows can be read again beside it.
pub(super) struct Reading {
    pub consumer: ConsumerSettings,
    pub alerts: AlertSettings,
    history: Option<History>,
    policy: RecoveryPolicy,
}

impl Reading {
    pub(super) fn retrace(&self) -> Retrace<'_> {
        Retrace { consumer: &self.consumer, history: self.history.as_ref(), policy: &self.policy }
    }
}

/// What reads the rows of a job again; nothing of it is claimed, joined or changed.
pub(super) fn reading(settings: &Settings, set: &RuleSet) -> Result<Reading, Failure> {
    let kafka = kafka_settings(settings);
    let policy = policy(settings, set, &Identity::default(), String::new())?;
    let cluster = cluster(settings, &kafka)?;
    let alerts =
        AlertSettings { cluster, generations: policy.recovery.generations.clone(), tell_held_back: true };
    let history = match settings.history.as_ref().map(|wanted| History::inspect(&wanted.place)) {
        Some(Err(HistoryError::Absent { .. })) | None => None,
        Some(opened) => Some(opened.map_err(|error| history::failure(&error))?),
    };
    Ok(Reading {
        consumer: consumer_settings(settings, set, kafka),
        alerts,
        history,
        policy: policy.recovery,
    })
}
