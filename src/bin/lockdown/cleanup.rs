//! `lockdown cleanup`: what containments have left in an account that nobody needs any more.

mod entries;
mod groups;
mod open;
mod report;

use std::time::Duration;

use aws_config::SdkConfig;
use entity_lockdown::arn::{AccountId, Partition, Region};
use entity_lockdown::aws::{Failure, Member};
use entity_lockdown::journal::Journal;
use indicatif::{ProgressBar, ProgressStyle};

use crate::aws::{connect, connect_to_journal, explain, journal_trouble, journal_with, sdk_region};
use crate::screen::Screen;
use crate::trouble::{Exit, Trouble};
use open::Open;
use report::Report;

/// Remove unused security groups of ours, and network ACL entries of instances that are gone
///
/// Works in the account of your own credentials (a member account) and in the regions that you name. A group is deleted only if it has
/// our tag and one of our names, no network interface uses it, no rule of another group names it, and no open containment may need
/// it. Entries carry no tags, so only the journal knows ours: with --table, those are deleted that it says were made for an instance
/// that is terminated or unknown to EC2, and that still stand there unchanged. Everything else stays, and is named with the reason.
///
/// The journal is in the hub's account: --journal-profile names the profile of your AWS configuration that may read it. Nothing is
/// written there: a release of such an instance finds nothing left to do, and closes its record.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown cleanup --region eu-west-1 us-east-1 --dry-run\n  lockdown cleanup --region eu-west-1 --table TABLE --journal-profile hub --journal-region us-east-1\n\nRights, in the account that is cleaned: ec2:DescribeSecurityGroups, DescribeNetworkInterfaces and DeleteSecurityGroup; with --table also ec2:DescribeInstances, DescribeNetworkAcls and DeleteNetworkAclEntry, and in the hub what `lockdown status` takes."
)]
pub struct Args {
    /// The regions to clean
    #[arg(long = "region", required = true, num_args = 1.., value_name = "REGION")]
    regions: Vec<Region>,
    /// Say what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The journal's table: output JournalTableName of the hub's stack [default: the journal is not looked at]
    #[arg(long, env = "LOCKDOWN_TABLE", value_name = "NAME")]
    table: Option<String>,
    /// The profile with whose credentials the journal is read [default: your own credentials]
    #[arg(long, requires = "table", value_name = "PROFILE")]
    journal_profile: Option<String>,
    /// The hub's region [default: that of the profile, or of your AWS configuration]
    #[arg(long, requires = "table", value_name = "REGION")]
    journal_region: Option<Region>,
    /// A JSON object with `dryRun`, `groups`, `entries`, `toRelease` and `notLookedAt`
    #[arg(long)]
    json: bool,
}

/// The account that is cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    id: AccountId,
    partition: Partition,
}

/// Carries the verb out.
pub async fn run(args: Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let mut regions = args.regions.clone();
    regions.sort_unstable();
    regions.dedup();
    let config = connect(regions.first()).await?;
    let account = whose(&config).await?;
    let journal = journal(&args).await?;
    let mut open = look_into(journal.as_ref(), &account).await.map_err(|mut trouble| {
        let way =
            "Nothing was deleted. The journal is in the hub: --journal-profile and --journal-region name the way to it";
        trouble.text = format!("{trouble}. {way}");
        trouble
    })?;
    let mut report = Report::new(args.dry_run, account.id.clone(), &regions, open.as_ref());
    let progress = Progress::new(screen);
    for (n, region) in (1..).zip(&regions) {
        progress.at(&format!("{region} ({n} of {})", regions.len()));
        if n > 1 {
            // The first look may be minutes old: a containment that began since may need a group that nothing uses yet.
            match look_into(journal.as_ref(), &account).await {
                Ok(now) => open = now,
                Err(trouble) => {
                    report.not_cleaned(region, trouble);
                    continue;
                }
            }
        }
        let config = config.clone().into_builder().region(sdk_region(region)).build();
        let member = Member::new(account.id.clone(), account.partition, region.clone(), config);
        if let Some(open) = &open {
            let (entries, to_release) = entries::clean(&member, open, args.dry_run).await;
            report.entries.extend(entries);
            report.to_release.extend(to_release);
        }
        let groups = groups::clean(&member, open.as_ref(), args.dry_run).await;
        report.groups.extend(groups);
    }
    progress.finish();
    show(&report, args.json, screen)
}

fn show(report: &Report, json: bool, screen: &mut Screen) -> Result<Exit, Trouble> {
    if json {
        screen.show_json(report)?;
    } else {
        let text = report.written(screen.width, screen.color);
        if screen.color {
            screen.show_as_is(&text);
        } else {
            screen.show(&text);
        }
    }
    for error in report.unreadable() {
        screen.say(&format!("error: {error}"));
    }
    Ok(report.exit())
}

/// Whose credentials these are.
async fn whose(config: &SdkConfig) -> Result<Account, Trouble> {
    let (call, what, own) = ("sts:GetCallerIdentity", "your credentials", "your own");
    let answer = aws_sdk_sts::Client::new(config).get_caller_identity().send().await;
    let answer = answer.map_err(|error| explain(&Failure::of(call, what, own, &error)))?;
    let partition = answer.arn().and_then(|arn| arn.split(':').nth(1)?.parse().ok());
    let account = answer.account().and_then(|account| account.parse().ok());
    account
        .zip(partition)
        .map(|(id, partition)| Account { id, partition })
        .ok_or_else(|| Trouble::out_of_reach("STS does not say whose account your credentials are of"))
}

/// The journal, if it is to be looked at.
async fn journal(args: &Args) -> Result<Option<Journal>, Trouble> {
    let Some(table) = args.table.as_deref().filter(|table| !table.is_empty()) else {
        return Ok(None);
    };
    let config = connect_to_journal(args.journal_profile.as_deref(), args.journal_region.as_ref()).await?;
    Ok(Some(journal_with(&config, table)))
}

/// What it holds open in this account.
async fn look_into(journal: Option<&Journal>, account: &Account) -> Result<Option<Open>, Trouble> {
    let Some(journal) = journal else { return Ok(None) };
    let found = journal.open_records().await.map_err(|error| journal_trouble(&error))?;
    Ok(Some(Open::of(found, account)))
}

/// What can be seen meanwhile, on a terminal.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(screen: &Screen) -> Self {
        Self(screen.lively.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        }))
    }

    fn at(&self, place: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("looking through {place}"));
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
