package argus.tiers_test

import data.argus.lib.fixtures
import data.argus.tiers

member(name) := fixtures.create("Member", sprintf("%s@acme.example", [name]), {"roles": ["viewer"]})

key(name) := fixtures.create("ApiKey", name, {"owner": {"serviceAccount": "indexer"}, "scopes": ["read"], "ttl": "30d"})

monthly(name, fields) := fixtures.create("Budget", name, object.union({"period": "monthly"}, fields))

tier(from, to) := fixtures.update("Organization", "acme", object.union(fixtures.rows.organization, {"tier": from}), {"tier": to})

# What counts: four members are there, and the tier `team` of the fixtures allows six.

test_as_many_as_the_tier_allows_pass if {
	found := tiers.deny_count with input as fixtures.plan([member("barbara"), member("donald")])
	found == set()
}

test_one_more_than_the_tier_allows_is_denied_at_the_last_that_came if {
	found := tiers.deny_count with input as fixtures.plan([member("barbara"), member("donald"), member("alan")])
	found == {{
		"msg": "7 members, and the tier `team` allows 6",
		"subject": "acme/Member/alan@acme.example",
		"origin": fixtures.origin("alan@acme.example", ""),
	}}
}

test_teams_projects_and_keys_are_counted_as_well if {
	found := tiers.deny_count with input as fixtures.plan([
		fixtures.create("Team", "research", {}),
		fixtures.create("Team", "sales", {}),
		fixtures.create("Project", "website", {}),
		fixtures.create("Project", "shop", {}),
		key("first"),
		key("second"),
	])
	fixtures.messages(found) == {
		"3 teams, and the tier `team` allows 2",
		"3 projects, and the tier `team` allows 2",
		"3 API keys, and the tier `team` allows 2",
	}
}

test_what_leaves_in_the_same_plan_makes_room if {
	found := tiers.deny_count with input as fixtures.plan([
		member("barbara"),
		member("donald"),
		member("alan"),
		fixtures.delete("Member", "edsger@acme.example", {"roles": ["member"]}),
	])
	found == set()
}

test_a_plan_that_leaves_too_many_but_fewer_than_before_passes if {
	changes := [
		fixtures.delete("Member", "edsger@acme.example", {"roles": ["member"]}),
		fixtures.update("Member", "grace@acme.example", {"roles": ["admin"]}, {"roles": ["viewer"]}),
	]

	# Three of four members stay; the tier allows two.
	found := tiers.deny_count with input as fixtures.plan_of(changes, {"tier": "tiny"})
		with input.tiers.tiny.limits as {"members": 2}
	found == set()
}

test_one_who_goes_and_two_who_come_where_there_are_too_many_already_are_denied if {
	changes := [
		fixtures.delete("Member", "edsger@acme.example", {"roles": ["member"]}),
		member("barbara"),
		member("donald"),
	]
	found := tiers.deny_count with input as fixtures.plan_of(changes, {"tier": "tiny"})
		with input.tiers.tiny.limits as {"members": 2}
	fixtures.messages(found) == {"5 members, and the tier `tiny` allows 2"}
}

test_an_update_makes_nothing_more if {
	changes := [fixtures.update("Member", "grace@acme.example", {"roles": ["admin"]}, {"roles": ["viewer"]})]
	found := tiers.deny_count with input as fixtures.plan_of(changes, {"tier": "free"})
	found == set()
}

test_a_smaller_tier_than_what_is_there_is_denied_at_the_tier if {
	found := tiers.deny_count with input as fixtures.plan([tier("team", "free")])
	fixtures.messages(found) == {"4 members, and the tier `free` allows 3"}
	some finding in found
	finding.origin == fixtures.origin("acme", "tier")
}

test_a_larger_tier_passes_even_if_it_is_not_large_enough if {
	found := tiers.deny_count with input as fixtures.plan([tier("free", "tiny")])
		with input.tiers.free.limits as {"members": 1}
		with input.tiers.tiny.limits as {"members": 2}
	found == set()
}

test_a_limit_that_is_left_out_does_not_limit if {
	found := tiers.deny_count with input as fixtures.plan([tier("team", "enterprise"), member("b"), member("c"), member("d")])
	found == set()
}

test_without_a_tier_nothing_is_limited if {
	found := tiers.deny_count with input as fixtures.plan_of([member("b"), member("c"), member("d")], {"tier": null})
	found == set()
}

test_a_new_organization_starts_within_its_tier if {
	organization := fixtures.create("Organization", "acme", {"tier": "free"})
	found := tiers.deny_count with input as fixtures.plan([organization, member("barbara")])
	fixtures.messages(found) == {"5 members, and the tier `free` allows 3"}
}

test_a_tier_of_the_catalogue_passes if {
	found := tiers.deny_unknown with input as fixtures.plan([tier("team", "free")])
	found == set()
}

test_a_tier_that_nobody_knows_is_denied if {
	found := tiers.deny_unknown with input as fixtures.plan([tier("team", "gold")])
	fixtures.messages(found) == {"there is no tier `gold`"}
}

test_an_old_unknown_tier_denies_no_other_change if {
	was := object.union(fixtures.rows.organization, {"tier": "gold"})
	found := tiers.deny_unknown with input as fixtures.plan([fixtures.update("Organization", "acme", was, {"displayName": "x"})])
	found == set()
}

test_no_tier_is_no_unknown_tier if {
	found := tiers.deny_unknown with input as fixtures.plan([tier("team", null)])
	found == set()
}

# What may be spent: the tier `team` of the fixtures allows 5000 USD a month and 250 USD a day.

test_a_budget_of_all_that_the_tier_allows_passes if {
	found := tiers.deny_spend with input as fixtures.plan([
		monthly("all", {"limit": "5000 USD"}),
		fixtures.create("Budget", "quarter", {"period": "quarterly", "limit": "15000 USD"}),
		fixtures.create("Budget", "year", {"period": "annual", "limit": "60000 USD"}),
		fixtures.create("Budget", "day", {"period": "daily", "limit": "250 USD"}),
	])
	found == set()
}

test_a_cent_beyond_the_tier_is_denied_in_every_period if {
	found := tiers.deny_spend with input as fixtures.plan([
		monthly("all", {"limit": "5000.01 USD"}),
		fixtures.create("Budget", "quarter", {"period": "quarterly", "limit": "15000.01 USD"}),
		fixtures.create("Budget", "year", {"period": "annual", "limit": "60000.01 USD"}),
		fixtures.create("Budget", "day", {"period": "daily", "limit": "250.01 USD"}),
	])
	fixtures.messages(found) == {
		"the monthly budget `all` may spend 5000.01 USD, and the tier `team` allows 5000 USD a month",
		"the quarterly budget `quarter` may spend 15000.01 USD, and the tier `team` allows 5000 USD a month",
		"the annual budget `year` may spend 60000.01 USD, and the tier `team` allows 5000 USD a month",
		"the daily budget `day` may spend 250.01 USD, and the tier `team` allows 250 USD a day",
	}
}

test_what_a_limit_may_be_lifted_to_counts_and_is_pointed_at if {
	found := tiers.deny_spend with input as fixtures.plan([monthly("all", {"limit": "4000 USD", "override": {"cap": "6000 USD"}})])
	fixtures.messages(found) == {"the monthly budget `all` may spend 6000 USD, and the tier `team` allows 5000 USD a month"}
	fixtures.places(found, "all", {"limit", "override.cap"}) == {"override.cap"}
}

test_another_currency_than_that_of_the_tier_is_denied if {
	found := tiers.deny_spend with input as fixtures.plan([monthly("all", {"limit": "10 EUR"})])
	fixtures.messages(found) == {"the monthly budget `all` may spend 10 EUR, and the tier `team` allows 5000 USD a month"}
}

test_a_tier_without_a_limit_of_spending_allows_any if {
	found := tiers.deny_spend with input as fixtures.plan_of([monthly("all", {"limit": "1000000 USD"})], {"tier": "enterprise"})
	found == set()
}

test_an_old_budget_beyond_the_tier_may_be_lowered_and_changed_but_not_raised if {
	was := {"period": "monthly", "limit": "9000 USD"}
	lower := tiers.deny_spend with input as fixtures.plan([fixtures.update("Budget", "monthly", was, {"limit": "8000 USD"})])
	lower == set()
	other := tiers.deny_spend with input as fixtures.plan([fixtures.update("Budget", "monthly", was, {"warnAt": [50]})])
	other == set()
	higher := tiers.deny_spend with input as fixtures.plan([fixtures.update("Budget", "monthly", was, {"limit": "9000.01 USD"})])
	count(higher) == 1
	sooner := tiers.deny_spend with input as fixtures.plan([fixtures.update("Budget", "monthly", was, {"period": "daily"})])
	count(sooner) == 1
}

test_a_smaller_tier_than_its_budgets_is_denied if {
	found := tiers.deny_spend with input as fixtures.plan([tier("team", "free")])
	fixtures.messages(found) == {"the monthly budget `monthly` may spend 2500 USD, and the tier `free` allows 20 USD a month"}
	some finding in found
	finding.origin == fixtures.origin("acme", "tier")
}

test_a_smaller_tier_with_smaller_budgets_passes if {
	was := fixtures.rows.budgets.monthly
	found := tiers.deny_spend with input as fixtures.plan([tier("team", "free"), fixtures.update("Budget", "monthly", was, {"limit": "20 USD"})])
	found == set()
}

test_a_larger_tier_that_is_still_too_small_for_its_budgets_passes if {
	found := tiers.deny_spend with input as fixtures.plan([tier("free", "tiny")])
		with input.tiers.tiny.limits as {"monthlySpend": "30 USD"}
	found == set()
}

test_a_larger_tier_with_budgets_that_fitted_before_passes if {
	found := tiers.deny_spend with input as fixtures.plan([tier("tiny", "team")])
		with input.tiers.tiny.limits as {"monthlySpend": "2500 USD"}
	found == set()
}

test_a_budget_that_changes_along_with_the_tier_is_told_of_once if {
	was := fixtures.rows.budgets.monthly
	found := tiers.deny_spend with input as fixtures.plan([tier("team", "free"), fixtures.update("Budget", "monthly", was, {"limit": "4000 USD"})])
	count(found) == 1
	fixtures.places(found, "monthly", {"limit"}) == {"limit"}
}

# What is promised together.

test_budgets_of_projects_within_the_tier_are_no_warning if {
	found := tiers.warn_promised with input as fixtures.plan([
		monthly("search", {"limit": "2500 USD", "subject": {"project": "search"}}),
		monthly("website", {"limit": "2500 USD", "subject": {"project": "website"}}),
		monthly("platform", {"limit": "2500 USD", "subject": {"team": "platform"}}),
		fixtures.create("Budget", "daily", {"period": "daily", "limit": "200 USD", "subject": {"project": "search"}}),
	])
	found == set()
}

test_budgets_of_projects_that_promise_more_than_the_tier_are_a_warning if {
	found := tiers.warn_promised with input as fixtures.plan([
		monthly("search", {"limit": "2500 USD", "subject": {"project": "search"}}),
		monthly("website", {"limit": "2500.50 USD", "subject": {"project": "website"}}),
	])
	fixtures.messages(found) == {
		"the monthly budgets of all subjects of the sort `project` together are 5000.5 USD, and the tier `team` allows 5000 USD a month",
	}
	fixtures.places(found, "website", {"limit"}) == {"limit"}
}

test_a_promise_that_is_not_raised_is_no_warning if {
	was := {"period": "monthly", "limit": "5001 USD", "subject": {"project": "search"}}
	other := tiers.warn_promised with input as fixtures.plan([fixtures.update("Budget", "search", was, {"warnAt": [10]})])
	other == set()
	lower := tiers.warn_promised with input as fixtures.plan([fixtures.update("Budget", "search", was, {"limit": "5000.50 USD"})])
	lower == set()
	raised := tiers.warn_promised with input as fixtures.plan([fixtures.update("Budget", "search", was, {"limit": "5002 USD"})])
	count(raised) == 1
	sooner := tiers.warn_promised with input as fixtures.plan([fixtures.update("Budget", "search", was, {"period": "daily"})])
	count(sooner) == 1
}

test_amounts_in_another_currency_are_not_added_up if {
	found := tiers.warn_promised with input as fixtures.plan([
		monthly("search", {"limit": "4000 USD", "subject": {"project": "search"}}),
		monthly("website", {"limit": "4000 EUR", "subject": {"project": "website"}}),
	])
	found == set()
}

test_a_budget_of_the_whole_organization_promises_nothing_twice if {
	found := tiers.warn_promised with input as fixtures.plan([monthly("other", {"limit": "5000 USD"})])
	found == set()
}

test_where_the_tier_limits_no_spending_nothing_is_promised_in_vain if {
	change := monthly("search", {"limit": "1000000 USD", "subject": {"project": "search"}})
	found := tiers.warn_promised with input as fixtures.plan_of([change], {"tier": "enterprise"})
	found == set()
}

# What changes with the tier itself: organizations of it are judged although nothing of them changes.

by_tier(before, after) := object.union(fixtures.plan([]), {
	"tiers": {"team": {"limits": after}},
	"tiersBefore": {"team": {"limits": before}},
})

test_a_tier_whose_limits_shrink_below_what_is_there_is_denied if {
	doc := by_tier({"members": 4}, {"members": 3})
	found := tiers.deny_count with input as doc
	found == {{"msg": "4 members, and the tier `team` allows 3", "subject": "Organization/acme"}}
}

test_a_tier_that_limits_what_it_did_not_limit_is_denied_where_that_is_too_little if {
	doc := by_tier({}, {"members": 3})
	found := tiers.deny_count with input as doc
	count(found) == 1
	enough := by_tier({}, {"members": 4})
	none := tiers.deny_count with input as enough
	none == set()
}

test_a_tier_whose_limits_grow_passes_even_where_they_are_still_too_small if {
	doc := by_tier({"members": 2, "monthlySpend": "10 USD"}, {"members": 3, "monthlySpend": "20 USD"})
	counted := tiers.deny_count with input as doc
	counted == set()
	spent := tiers.deny_spend with input as doc
	spent == set()
}

test_a_tier_whose_spending_shrinks_below_a_budget_is_denied if {
	doc := by_tier({"monthlySpend": "5000 USD"}, {"monthlySpend": "2499.99 USD"})
	found := tiers.deny_spend with input as doc
	found == {{
		"msg": "the monthly budget `monthly` may spend 2500 USD, and the tier `team` allows 2499.99 USD a month",
		"subject": "Organization/acme",
	}}
}

test_a_tier_that_changes_otherwise_passes if {
	doc := by_tier({"members": 3, "monthlySpend": "10 USD"}, {"members": 3, "monthlySpend": "10 USD"})
	counted := tiers.deny_count with input as doc
	counted == set()
	spent := tiers.deny_spend with input as doc
	spent == set()
}
