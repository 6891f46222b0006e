"""/v1/projects: the CPH projects of this deployment and their health."""

from datetime import datetime
from typing import Self
from urllib.parse import urlsplit

from flask import Response
from pydantic import BaseModel, Field

from app.api.auth.authentication import tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.schemas.fields import Moment
from app.bootstrap.cph_clients import address
from app.bootstrap.stores import Stores
from app.config.live_config import LiveConfig
from app.config.projects import Project
from app.domain.budget import Budget
from app.domain.project_health import ProjectHealth, ProjectState


class ProjectError(BaseModel):
    at: Moment
    reason: str


class BudgetView(BaseModel):
    rate: float = Field(description="Current rate limit, in calls per second.")
    learned_rate: float | None = Field(description="Rate limit derived from CPH's 429s, while it applies.")
    calls_left: int = Field(description="Calls that the token bucket allows now.")
    paused_until: Moment | None = Field(description="No call before this time; for a refused project, the next try.")

    @classmethod
    def of(cls, budget: Budget) -> Self:
        learned = budget.learned_rate
        return cls(
            rate=round(budget.rate, 3),
            learned_rate=None if learned is None else round(learned, 3),
            calls_left=max(0, int(budget.calls_left)),
            paused_until=budget.paused_until,
        )


class ProjectView(BaseModel):
    name: str
    project_id: str
    endpoint: str | None = Field(description="Host of the project's CPH endpoint.")
    state: ProjectState = Field(description="`refused`: an operator must act; `waiting`: no answer or no call yet.")
    refused_since: Moment | None
    last_answer_at: Moment | None
    last_error: ProjectError | None
    rate: float = Field(description="Configured rate limit of all workers, in calls per second.")
    budget: BudgetView
    late_s: int = Field(description="How long the oldest due poll has waited.")
    credentials_expire_at: Moment | None
    clock_ahead_s: int | None = Field(description="Seconds by which CPH's clock is ahead of the bridge's.")
    hint: str | None = Field(description="What an operator should do.")

    @classmethod
    def of(
        cls, name: str, project: Project, *, health: ProjectHealth, budget: Budget, rate: float, now: datetime
    ) -> Self:
        failed = health.failed_at and ProjectError(at=health.failed_at, reason=health.failure or "")
        ahead = health.clock_ahead
        return cls(
            name=name,
            project_id=project.project_id,
            endpoint=urlsplit(address(project) or "").netloc or None,
            state=health.state,
            refused_since=health.refused_since,
            last_answer_at=health.answered_at,
            last_error=failed,
            rate=project.rate or rate,
            budget=BudgetView.of(budget),
            late_s=int(budget.late.total_seconds()),
            credentials_expire_at=health.credentials_expire_at,
            clock_ahead_s=None if ahead is None else round(ahead.total_seconds()),
            hint=health.remedy(now) or budget.remedy(),
        )


class ProjectPage(BaseModel):
    items: list[ProjectView]
    next_cursor: None = Field(None, description="Always null: there is only one page.")


class ProjectViews:
    """cph_rate: default rate limit of a project, in calls per second."""

    def __init__(self, stores: Stores, config: LiveConfig, cph_rate: float) -> None:
        self._stores = stores
        self._config = config
        self._rate = cph_rate

    def routes(self) -> Routes:
        routes = Routes("projects")
        routes.get("/projects", responses={200: ProjectPage})(self.list_projects)
        return routes

    def list_projects(self) -> Response:
        """Lists the CPH projects of this tenant, in the order of the settings."""
        allowed = self._config.projects_of(tenant())
        projects = {name: project for name, project in self._config.project_settings.items() if name in allowed}
        healths = self._stores.project_healths.of(tuple(projects))
        budgets = self._stores.polls_due.budgets(tuple(projects), self._stores.clock())
        now = self._stores.clock.world_time()
        items = [
            ProjectView.of(name, project, health=health, budget=budget, rate=self._rate, now=now)
            for (name, project), health, budget in zip(projects.items(), healths, budgets, strict=True)
        ]
        return json_answer(ProjectPage(items=items, next_cursor=None).model_dump_json())
