"""Every verb that the service needs of its database."""

from __future__ import annotations

from service.database import Database
from service.store.action_verbs import ActionVerbs
from service.store.claim_verbs import ClaimVerbs
from service.store.dataset_verbs import DatasetVerbs
from service.store.job_verbs import JobVerbs
from service.store.key_verbs import KeyVerbs
from service.store.lease_verbs import LeaseVerbs
from service.store.log_verbs import LogVerbs
from service.store.pool_verbs import PoolVerbs
from service.store.preview_verbs import PreviewVerbs
from service.store.rate_verbs import RateVerbs
from service.store.report_verbs import ReportVerbs
from service.store.retention_verbs import RetentionVerbs
from service.store.webhook_verbs import WebhookVerbs


class Store:
    """The database's verbs, by what they are about."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs = JobVerbs(database)
        self.actions = ActionVerbs(database)
        self.leases = LeaseVerbs(database)
        self.logs = LogVerbs(database)
        self.reports = ReportVerbs(database)
        self.claims = ClaimVerbs(database)
        self.datasets = DatasetVerbs(database)
        self.rates = RateVerbs(database)
        self.previews = PreviewVerbs(database)
        self.webhooks = WebhookVerbs(database)
        self.retention = RetentionVerbs(database)
        self.pools = PoolVerbs(database)
        self.keys = KeyVerbs(database)
