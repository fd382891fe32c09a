# METADATA
# title: Budgets
# description: Somebody hears of money before it is gone, and somebody agrees before it becomes more.
package argus.budgets

import data.argus.lib.changes
import data.argus.lib.money

# By how many percent a budget may grow before finance has to agree.
raise_percent_max := 20

# What happens at the limit where spending ends there.
ends_spending := {"block", "queue"}

# METADATA
# title: Somebody is told
# description: A budget names a channel of its owners that is in use. Otherwise its warnings reach nobody.
# custom:
#   id: budget-channel
#   severity: medium
#   remediation: name a NotificationChannel that is enabled in `notify`
deny_channel contains finding if {
	some change in changes.written("Budget")
	changes.writes(change, {"notify"})
	not reaches_somebody(change.after)
	message := sprintf("nobody would be told of the budget `%s`: it names no channel that is enabled", [change.name])
	finding := changes.finding(change, "notify", message)
}

# METADATA
# title: A warning comes before the end
# description: |
#   A budget that blocks (or queues) at its limit warns before: at least one `warnAt` lies below 100 percent. Who is
#   stopped without a warning raises the limit in a hurry.
# custom:
#   id: budget-warning
#   severity: medium
#   remediation: "add a percentage below 100 to `warnAt`, such as 80"
deny_warning contains finding if {
	some change in changes.written("Budget")
	changes.writes(change, {"warnAt", "onLimit"})
	change.after.onLimit in ends_spending
	early := [percent | some percent in change.after.warnAt; percent < 100]
	count(early) == 0
	message := sprintf("the budget `%s` ends spending at its limit and warns of it at no percentage below", [change.name])
	finding := changes.finding(change, "warnAt", message)
}

# METADATA
# title: More money needs approval
# description: A limit, or what it may be lifted to, that grows by more than the free share is agreed to by finance.
# custom:
#   id: budget-raise
#   severity: high
#   remediation: ask somebody of finance to approve the plan, or raise it by less
#   approvals:
#     quorum: 1
#     groups: [finance]
hold_raise contains finding if {
	some change in changes.written("Budget")
	some path in ["limit", "override.cap"]
	changes.writes(change, {path, "period"})
	before := amount(change.before, path)
	after := amount(change.after, path)
	not within_free_share(change, before, after)
	message := sprintf("the budget `%s` grows from %s to %s", [change.name, shown(change.before, before), shown(change.after, after)])
	finding := changes.finding(change, path, message)
}

# METADATA
# title: A limit that goes needs approval
# description: |
#   A budget that ended spending and goes, no longer ends it, or ends that of something else, limits nothing any more where
#   it did. A budget may go with what it is of.
# custom:
#   id: budget-loosened
#   severity: high
#   remediation: ask somebody of finance to approve the plan
#   approvals:
#     quorum: 1
#     groups: [finance]
hold_loosened contains finding if {
	some change in changes.deleted("Budget")
	change.before.onLimit in ends_spending
	not changes.organization_goes
	not subject_goes(change.before)
	message := sprintf("the budget `%s` goes, which ended spending at %s", [change.name, change.before.limit])
	finding := changes.finding(change, "", message)
}

hold_loosened contains finding if {
	some change in changes.written("Budget")
	change.before.onLimit in ends_spending
	not change.after.onLimit in ends_spending
	message := sprintf("the budget `%s` no longer ends spending at its limit", [change.name])
	finding := changes.finding(change, "onLimit", message)
}

hold_loosened contains finding if {
	some change in changes.written("Budget")
	change.before.onLimit in ends_spending
	count(moved(change)) > 0
	message := sprintf("the budget `%s` ends the spending of something else, and no longer that of what it was of", [change.name])
	finding := changes.finding(change, "subject", message)
}

# The fields that say what a budget is of, where they change.
moved(change) := {field.path | some field in change.fields; startswith(field.path, "subject")}

reaches_somebody(budget) if {
	some channel in budget.notify
	input.after.notificationChannels[channel].enabled == true
}

within_free_share(change, before, after) if {
	change.before.period == change.after.period
	money.at_most(after, 100 + raise_percent_max, before)
}

amount(budget, "limit") := budget.limit

# A cap that is not there lifts nothing beyond the limit.
amount(budget, "override.cap") := object.get(budget, ["override", "cap"], budget.limit)

shown(budget, amount) := sprintf("%s (%s)", [amount, budget.period])

subject_goes(budget) if {
	some sort, kind in {"team": "Team", "project": "Project", "serviceAccount": "ServiceAccount", "apiKey": "ApiKey"}
	some gone in changes.deleted(kind)
	gone.name == budget.subject[sort]
}
