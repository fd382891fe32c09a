package argus.budgets_test

import data.argus.budgets
import data.argus.lib.fixtures

base := {"period": "monthly", "limit": "100 USD", "warnAt": [80], "onLimit": "block", "notify": ["ops-mail"]}

create(fields) := fixtures.create("Budget", "b", object.union(base, fields))

update(before, fields) := fixtures.update("Budget", "b", object.union(base, before), fields)

channel(change) := fixtures.messages(found) if found := budgets.deny_channel with input as fixtures.plan([change])

warning(change) := fixtures.messages(found) if found := budgets.deny_warning with input as fixtures.plan([change])

raise(change) := fixtures.messages(found) if found := budgets.hold_raise with input as fixtures.plan([change])

loosened(change) := fixtures.messages(found) if found := budgets.hold_loosened with input as fixtures.plan([change])

nobody := "nobody would be told of the budget `b`: it names no channel that is enabled"

unwarned := "the budget `b` ends spending at its limit and warns of it at no percentage below"

test_a_budget_with_a_channel_passes if {
	channel(create({})) == set()
	channel(create({"notify": ["old-mail", "ops-mail"]})) == set()
}

test_a_budget_without_a_channel_is_denied if {
	found := budgets.deny_channel with input as fixtures.plan([create({"notify": []})])
	found == {{"msg": nobody, "subject": "acme/Budget/b", "origin": fixtures.origin("b"), "path": "notify"}}
}

test_a_budget_whose_channels_are_off_or_gone_is_denied_at_its_channels if {
	found := budgets.deny_channel with input as fixtures.plan([create({"notify": ["old-mail", "gone"]})])
	fixtures.messages(found) == {nobody}
	fixtures.places(found, "b") == {"notify"}
}

test_an_old_budget_without_a_channel_denies_no_other_change if {
	channel(update({"notify": []}, {"warnAt": [50]})) == set()
	channel(update({}, {"notify": []})) == {nobody}
}

test_a_budget_that_warns_before_it_blocks_passes if {
	warning(create({"warnAt": [100, 99]})) == set()
	warning(create({"warnAt": [50], "onLimit": "queue"})) == set()
}

test_a_budget_that_only_warns_ends_nothing if {
	warning(create({"warnAt": [], "onLimit": "warn"})) == set()
}

test_a_budget_that_ends_spending_without_a_warning_is_denied if {
	warning(create({"warnAt": []})) == {unwarned}
	warning(create({"warnAt": [], "onLimit": "queue"})) == {unwarned}
	found := budgets.deny_warning with input as fixtures.plan([create({"warnAt": [100]})])
	found == {{"msg": unwarned, "subject": "acme/Budget/b", "origin": fixtures.origin("b"), "path": "warnAt"}}
}

test_an_old_budget_without_a_warning_denies_no_other_change if {
	warning(update({"warnAt": []}, {"limit": "90 USD"})) == set()
	warning(update({"warnAt": [], "onLimit": "warn"}, {"onLimit": "block"})) == {unwarned}
	warning(update({}, {"warnAt": [100]})) == {unwarned}
}

test_a_budget_may_grow_by_its_free_share if {
	raise(update({}, {"limit": "120 USD"})) == set()
	raise(update({}, {"limit": "50 USD"})) == set()
	raise(update({"limit": "0.50 USD"}, {"limit": "0.60 USD"})) == set()
}

test_a_budget_that_grows_by_more_is_held_at_its_limit if {
	found := budgets.hold_raise with input as fixtures.plan([update({}, {"limit": "120.01 USD"})])
	found == {
		{
			"msg": "the budget `b` grows from 100 USD (monthly) to 120.01 USD (monthly)",
			"subject": "acme/Budget/b",
			"origin": fixtures.origin("b"), "path": "limit",
		},
	}
}

test_exact_cents_decide if {
	raise(update({"limit": "0.50 USD"}, {"limit": "0.61 USD"})) == {"the budget `b` grows from 0.50 USD (monthly) to 0.61 USD (monthly)"}
	raise(update({"limit": "1.005 KWD"}, {"limit": "1.206 KWD"})) == set()
	raise(update({"limit": "1.005 KWD"}, {"limit": "1.207 KWD"})) != set()
}

test_another_currency_is_held if {
	raise(update({}, {"limit": "90 EUR"})) == {"the budget `b` grows from 100 USD (monthly) to 90 EUR (monthly)"}
}

test_the_same_amount_in_a_shorter_time_is_held if {
	raise(update({}, {"period": "daily"})) == {"the budget `b` grows from 100 USD (monthly) to 100 USD (daily)"}
}

test_what_the_limit_may_be_lifted_to_counts_as_well if {
	was := {"override": {"cap": "150 USD"}}
	raise(update(was, {"override": {"cap": "180 USD"}})) == set()
	raise(update(was, {"override": {"cap": "181 USD"}})) == {"the budget `b` grows from 150 USD (monthly) to 181 USD (monthly)"}
	found := budgets.hold_raise with input as fixtures.plan([update({}, {"override": {"cap": "121 USD"}})])
	fixtures.messages(found) == {"the budget `b` grows from 100 USD (monthly) to 121 USD (monthly)"}
	fixtures.places(found, "b") == {"override.cap"}
}

test_a_new_budget_is_no_raise if {
	raise(create({"limit": "1000000 USD"})) == set()
}

test_an_untouched_budget_is_no_raise if {
	raise(update({}, {"notify": []})) == set()
}

test_a_blocking_budget_that_goes_is_held if {
	every sort in ["block", "queue"] {
		loosened(fixtures.delete("Budget", "b", object.union(base, {"onLimit": sort}))) == {"the budget `b` goes, which ended spending at 100 USD"}
	}
	found := budgets.hold_loosened with input as fixtures.plan([fixtures.delete("Budget", "b", base)])
	found == {{"msg": "the budget `b` goes, which ended spending at 100 USD", "subject": "acme/Budget/b", "origin": fixtures.origin("b"), "path": ""}}
}

test_a_warning_budget_may_go if {
	loosened(fixtures.delete("Budget", "b", object.union(base, {"onLimit": "warn"}))) == set()
}

test_a_budget_may_go_with_what_it_is_of if {
	subjects := {"team": "Team", "project": "Project", "serviceAccount": "ServiceAccount", "apiKey": "ApiKey"}
	every sort, kind in subjects {
		budget := fixtures.delete("Budget", "b", object.union(base, {"subject": {sort: "x"}}))
		with_it := budgets.hold_loosened with input as fixtures.plan([budget, fixtures.delete(kind, "x", {})])
		with_it == set()
		with_another := budgets.hold_loosened with input as fixtures.plan([budget, fixtures.delete(kind, "y", {})])
		count(with_another) == 1
	}
}

test_a_budget_may_go_with_the_whole_organization if {
	found := budgets.hold_loosened with input as fixtures.plan([
		fixtures.delete("Budget", "b", base),
		fixtures.delete("Organization", "acme", {}),
	])
	found == set()
}

test_a_budget_that_no_longer_blocks_is_held if {
	found := budgets.hold_loosened with input as fixtures.plan([update({}, {"onLimit": "warn"})])
	found == {{
		"msg": "the budget `b` no longer ends spending at its limit",
		"subject": "acme/Budget/b",
		"origin": fixtures.origin("b"), "path": "onLimit",
	}}
}

test_a_budget_that_queues_still_ends_spending if {
	loosened(update({}, {"onLimit": "queue"})) == set()
	loosened(update({"onLimit": "warn"}, {"limit": "5 USD"})) == set()
	loosened(create({"onLimit": "warn"})) == set()
}

test_a_blocking_budget_that_becomes_that_of_something_else_is_held if {
	elsewhere := "the budget `b` ends the spending of something else, and no longer that of what it was of"
	every subject in [{"team": "a"}, {"project": "a"}, {"serviceAccount": "a"}, {"apiKey": "a"}] {
		loosened(update({}, {"subject": subject})) == {elsewhere}
		loosened(update({"subject": subject}, {"subject": {"team": "b"}})) == {elsewhere}
	}
}

test_a_budget_that_ends_nothing_may_become_that_of_something_else if {
	loosened(update({"onLimit": "warn"}, {"subject": {"team": "a"}})) == set()
	loosened(update({"subject": {"team": "a"}}, {"limit": "5 USD"})) == set()
	loosened(create({"subject": {"team": "a"}})) == set()
}
