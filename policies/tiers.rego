# METADATA
# title: Tier limits
# description: What an organization has, and may spend, stays within the limits of its tier.
package argus.tiers

import data.argus.lib.changes
import data.argus.lib.money

# What is counted: the limit of the tier, the kind, and what people call it.
counted := {
	"members": {"kind": "Member", "word": "members"},
	"teams": {"kind": "Team", "word": "teams"},
	"projects": {"kind": "Project", "word": "projects"},
	"apiKeys": {"kind": "ApiKey", "word": "API keys"},
}

# Which limit of the tier bounds a budget of a period, and how many of its periods that budget covers.
spending := {
	"daily": {"limit": "dailySpend", "times": 1},
	"monthly": {"limit": "monthlySpend", "times": 1},
	"quarterly": {"limit": "monthlySpend", "times": 3},
	"annual": {"limit": "monthlySpend", "times": 12},
}

# METADATA
# title: The tier has to exist
# description: A tier that nobody knows has no limits that could be checked.
# custom:
#   id: tier-unknown
#   severity: high
#   remediation: declare the Tier, or choose one of the catalogue (`argus get tiers`)
deny_unknown contains finding if {
	some change in changes.written("Organization")
	changes.writes(change, {"tier"})
	not input.tiers[change.after.tier]
	finding := changes.finding(change, "tier", sprintf("there is no tier `%s`", [change.after.tier]))
}

# METADATA
# title: No more than the tier allows
# description: |
#   Members, teams, projects and API keys are counted as they would be. A plan that brings an organization nearer to its
#   limit passes, even where it does not reach it yet. A tier does not get limits that an organization of it is beyond.
# custom:
#   id: tier-count
#   severity: high
#   remediation: remove some of them, or choose a larger tier
deny_count contains finding if {
	some what, about in counted
	have := count(input.after[what])
	excess := beyond(have, limits_after, what)
	had := (have - count(created(about.kind))) + count(changes.deleted(about.kind))
	excess > beyond(had, limits_before, what)
	message := sprintf("%d %s, and the tier `%s` allows %d", [have, about.word, tier_after, have - excess])
	finding := blaming(about.kind, message)
}

# METADATA
# title: No budget beyond the tier
# description: |
#   No budget, nor what its limit may be lifted to, is more than the tier lets the organization spend in that time. A
#   quarter counts as three months, a year as twelve.
# custom:
#   id: tier-spend
#   severity: high
#   remediation: lower the budget, or choose a larger tier
deny_spend contains finding if {
	some change in changes.written("Budget")
	some path, amount in amounts(change.after)
	exceeds(amount, change.after.period, limits_after)
	not was_as_high(change, path, amount)
	finding := changes.finding(change, path, too_high(change.after, amount))
}

deny_spend contains finding if {
	limits_after != limits_before
	written := {change.name | some change in changes.written("Budget")}
	some name, budget in input.after.budgets
	not name in written
	some amount in amounts(budget)
	exceeds(amount, budget.period, limits_after)
	not exceeds(amount, budget.period, limits_before)
	finding := blaming("Organization", too_high(budget, amount))
}

# METADATA
# title: Budgets promise what the tier allows
# description: |
#   The budgets of all projects (or teams, or service accounts, or keys) of one period together are no more than the tier
#   lets the organization spend in it. If they are, not everybody can have what was promised.
# custom:
#   id: tier-promised
#   severity: medium
#   remediation: lower some of these budgets, or choose a larger tier
warn_promised contains finding if {
	some change in asking
	some sort, _ in change.after.subject
	period := change.after.period
	bounds := spending[period]
	ceiling := limits_after[bounds.limit]
	together := sum(promised[period][sort])
	together > money.thousandths(ceiling) * bounds.times
	message := sprintf(
		"the %s budgets of all subjects of the sort `%s` together are %v %s, and the tier `%s` allows %s a %s",
		[period, sort, together / 1000, money.currency(ceiling), tier_after, ceiling, times[bounds.limit]],
	)
	finding := changes.finding(change, "limit", message)
}

# The budgets that ask for more than before.
asking := [change |
	some change in changes.written("Budget")
	not asks_no_more(change)
]

# What is promised, by period and by what the subjects are; only where somebody asks for more, and where there is a limit.
promised := {period: sorts |
	some period in {change.after.period | some change in asking}
	ceiling := limits_after[spending[period].limit]
	currency := money.currency(ceiling)
	sorts := {sort: limits |
		some sort in ["team", "project", "serviceAccount", "apiKey"]
		limits := [money.thousandths(budget.limit) |
			some budget in input.after.budgets
			budget.period == period
			budget.subject[sort]
			money.currency(budget.limit) == currency
		]
	}
}

times := {"dailySpend": "day", "monthlySpend": "month"}

# Whether a budget asks for no more than before.
asks_no_more(change) if {
	change.before.period == change.after.period
	money.at_most(change.after.limit, 100, change.before.limit)
}

tier_after := input.after.organization.tier

# The tier before, if there was one.
tier_before := tier if {
	some change in changes.written("Organization")
	tier := object.get(change, ["before", "tier"], null)
} else := tier_after

limits_after := input.tiers[tier_after].limits

default limits_before := {}

# Without a tier there are no limits. A tier may change in the same plan.
limits_before := limits if {
	limits := input.tiersBefore[tier_before].limits
} else := limits if {
	limits := input.tiers[tier_before].limits
}

# By how many a number is beyond a limit.
beyond(number, limits, what) := max([0, number - limit]) if {
	limit := limits[what]
} else := 0

# The rows of a kind that the plan brings.
created(kind) := [change | some change in changes.written(kind); change.before == null]

# What made it too much: the last one that came, or else another tier of the organization, or else the tier itself.
blaming(kind, message) := changes.finding(rows[count(rows) - 1], "", message) if {
	rows := created(kind)
	count(rows) > 0
} else := finding if {
	some change in changes.written("Organization")
	finding := changes.finding(change, "tier", message)
} else := {"msg": message, "subject": sprintf("Organization/%s", [input.organization])}

# The amounts of a budget, by field.
amounts(budget) := {path: amount |
	some path, amount in {"limit": budget.limit, "override.cap": object.get(budget, ["override", "cap"], null)}
	amount != null
}

# Whether an amount is more than what is allowed in a period, or in a currency in which nothing is allowed.
exceeds(amount, period, limits) if {
	bounds := spending[period]
	ceiling := limits[bounds.limit]
	not money.at_most(amount, 100 * bounds.times, ceiling)
}

# Whether the row had an amount that was no lower.
was_as_high(change, path, amount) if {
	not changes.writes(change, {"period"})
	money.at_most(amount, 100, amounts(change.before)[path])
}

too_high(budget, amount) := message if {
	bounds := spending[budget.period]
	message := sprintf(
		"the %s budget `%s` may spend %s, and the tier `%s` allows %s a %s",
		[budget.period, budget.name, amount, tier_after, limits_after[bounds.limit], times[bounds.limit]],
	)
}
