package argus.owners_test

import data.argus.lib.fixtures
import data.argus.owners

ada := "ada@acme.example"

katherine := "katherine@acme.example"

owner := {"roles": ["owner"]}

few(changes) := fixtures.messages(found) if found := owners.deny_few with input as fixtures.plan(changes)

still(changes, fields) := fixtures.messages(found) if found := owners.warn_still_few with input as fixtures.plan_of(changes, fields)

one := "1 active owner would be there, and the tier needs 2"

gone := fixtures.delete("Member", katherine, owner)

test_two_owners_are_enough if {
	few([fixtures.update("Member", "grace@acme.example", {"roles": ["admin"]}, {"roles": ["viewer"]})]) == set()
	few([fixtures.create("Organization", "acme", {"tier": "team"})]) == set()
}

test_an_owner_may_go_where_another_one_comes if {
	few([gone, fixtures.update("Member", "grace@acme.example", {"roles": ["admin"]}, owner)]) == set()
}

test_the_second_owner_may_not_go if {
	found := owners.deny_few with input as fixtures.plan([gone])
	found == {{"msg": one, "subject": "acme/Member/katherine@acme.example", "origin": fixtures.origin(katherine, "")}}
}

test_the_second_owner_may_not_become_less if {
	few([fixtures.update("Member", katherine, owner, {"roles": ["admin"]})]) == {one}
	few([fixtures.update("Member", katherine, owner, {"status": "suspended"})]) == {one}
	few([fixtures.update("Member", katherine, owner, {"expiresAt": fixtures.now})]) == {one}
	found := owners.deny_few with input as fixtures.plan([fixtures.update("Member", katherine, owner, {"roles": ["admin"]})])
	fixtures.places(found, katherine, {"roles"}) == {"roles"}
}

test_an_owner_who_stays_for_a_while_is_still_one if {
	few([fixtures.update("Member", katherine, owner, {"expiresAt": "2026-03-01T09:00:01Z"})]) == set()
}

test_when_both_go_each_is_told_of if {
	found := owners.deny_few with input as fixtures.plan([gone, fixtures.delete("Member", ada, owner)])
	fixtures.messages(found) == {"0 active owners would be there, and the tier needs 2"}
	count(found) == 2
}

test_a_new_organization_needs_two if {
	changes := [fixtures.create("Organization", "acme", {"tier": "team"}), fixtures.create("Member", katherine, {"roles": ["member"]})]
	found := owners.deny_few with input as fixtures.plan(changes)
	found == {{"msg": one, "subject": "Organization/acme", "origin": fixtures.origin("acme", "")}}
}

test_a_new_organization_without_a_tier_needs_two if {
	changes := [fixtures.create("Organization", "acme", {"tier": null}), fixtures.create("Member", katherine, {"roles": ["member"]})]
	few(changes) == {one}
}

test_one_is_enough_to_try_things_out if {
	changes := [fixtures.create("Organization", "acme", {"tier": "free"}), fixtures.create("Member", katherine, {"roles": ["member"]})]
	few(changes) == set()
}

test_nobody_is_too_few_for_every_tier if {
	every tier in ["free", "explorer"] {
		organization := fixtures.create("Organization", "acme", {"tier": tier})
		alone := owners.deny_few with input as fixtures.plan([organization])
			with input.after.members as {"ada@acme.example": {"roles": ["owner"], "status": "active"}}
		alone == set()
		nobody := owners.deny_few with input as fixtures.plan([organization])
			with input.after.members as {"ada@acme.example": {"roles": ["admin"], "status": "active"}}
		fixtures.messages(nobody) == {"0 active owners would be there, and the tier needs 1"}
	}
}

# What an organization with one owner may do: everything that takes no owner away.
alone(changes) := fixtures.messages(found) if {
	found := owners.deny_few with input as fixtures.plan(changes)
		with input.after.members as {"ada@acme.example": {"roles": ["owner"], "status": "active"}}
}

test_an_organization_that_had_one_may_change if {
	alone([fixtures.update("Organization", "acme", fixtures.rows.organization, {"displayName": "x"})]) == set()
	alone([fixtures.delete("Member", "edsger@acme.example", {"roles": ["member"]})]) == set()
	alone([fixtures.update("Member", ada, owner, {"roles": ["owner", "admin"]})]) == set()
	alone([gone]) == {one}
}

test_an_organization_that_had_one_is_warned_and_not_denied if {
	# Katherine is a member who was no owner before either.
	changes := [fixtures.update("Member", katherine, {"roles": ["member"]}, {"roles": ["viewer"]})]
	few(changes) == set()
	still(changes, {"tier": "team"}) == {one}
	found := owners.warn_still_few with input as fixtures.plan(changes)
	some finding in found
	finding.subject == "Organization/acme"
	finding.origin == fixtures.origin("acme", "")
}

test_no_warning_where_there_are_enough if {
	still([fixtures.update("Member", "grace@acme.example", {"roles": ["admin"]}, {"roles": ["viewer"]})], {}) == set()
	changes := [fixtures.update("Member", katherine, {"roles": ["member"]}, {"roles": ["viewer"]})]
	still(changes, {"tier": "free"}) == set()
}

test_no_warning_beside_a_denial if {
	still([gone], {}) == set()
	new := fixtures.create("Organization", "acme", {"tier": "team"})
	still([new, fixtures.create("Member", katherine, {"roles": ["member"]})], {}) == set()
}

test_no_warning_where_no_member_changes if {
	found := owners.warn_still_few with input as fixtures.plan([fixtures.create("Team", "research", {})])
		with input.after.members as {}
	found == set()
}

test_an_organization_that_goes_takes_its_owners_along if {
	both := [gone, fixtures.delete("Member", ada, owner)]
	few(array.concat(both, [fixtures.delete("Organization", "acme", {})])) == set()
	still([gone, fixtures.delete("Organization", "acme", {})], {}) == set()
}
