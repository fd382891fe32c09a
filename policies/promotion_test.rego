package argus.promotion_test

import data.argus.lib.fixtures
import data.argus.promotion

grace := "grace@acme.example"

authors := {"grace@acme.example", "grace"}

found(changes, gained) := answer if answer := promotion.deny_own_role with input as fixtures.plan_by(changes, {}, authors, gained)

gains(fields) := [object.union(fixtures.grant(grace, "owner"), fields)]

promoted := fixtures.update("Member", grace, {"roles": ["admin"]}, {"roles": ["owner"]})

test_who_promotes_somebody_else_passes if {
	changes := [fixtures.update("Member", "edsger@acme.example", {"roles": ["member"]}, {"roles": ["admin"]})]
	found(changes, [fixtures.grant("edsger@acme.example", "admin")]) == set()
}

test_who_gains_nothing_passes if {
	found([fixtures.update("Member", grace, {"roles": ["admin"]}, {"roles": ["viewer"]})], []) == set()
}

test_who_promotes_themselves_is_denied_at_their_roles if {
	found([promoted], gains({})) == {{
		"msg": "`grace@acme.example` would make themselves `owner`",
		"subject": "acme/Member/grace@acme.example",
		"origin": fixtures.origin(grace), "path": "roles",
	}}
}

test_what_else_changes_is_not_pointed_at if {
	other := fixtures.update("Member", "edsger@acme.example", {"roles": ["member"]}, {"roles": ["viewer"]})
	answer := found([other, promoted], gains({}))
	fixtures.places(answer, grace) == {"roles"}
}

test_letters_of_another_case_are_the_same_person if {
	count(found([promoted], [fixtures.grant("Grace@ACME.example", "owner")])) == 1
}

test_many_permissions_of_one_role_are_told_of_once if {
	reads := object.union(fixtures.grant(grace, "owner"), {"permissions": ["keys:read"]})
	count(found([promoted], array.concat(gains({}), [reads]))) == 1
}

test_a_membership_that_goes_on_longer_is_pointed_at if {
	change := fixtures.update("Member", grace, {"roles": ["admin"], "expiresAt": "2026-02-01T00:00:00Z"}, {"expiresAt": null})
	answer := found([change], gains({}))
	fixtures.places(answer, grace) == {"roles"}
}

test_gaining_through_a_project_is_denied_at_its_members if {
	project := fixtures.rows.projects.search
	change := fixtures.update("Project", "search", project, {"members": [{"user": grace, "role": "maintainer"}]})
	answer := found([change], gains({"project": "search", "role": "maintainer"}))
	fixtures.messages(answer) == {"`grace@acme.example` would make themselves `maintainer` of the project `search`"}
	fixtures.places(answer, "search") == {"members"}
}

test_gaining_through_a_team_is_denied_at_the_team if {
	team := fixtures.rows.teams.platform
	change := fixtures.update("Team", "platform", team, {"members": [{"user": grace, "role": "member"}]})
	answer := found([change], gains({"project": "search", "role": "developer", "team": "platform"}))
	fixtures.messages(answer) == {
		"`grace@acme.example` would make themselves `developer` of the project `search` through the team `platform`",
	}
	fixtures.places(answer, "platform") == {"members"}
}

test_gaining_through_the_teams_of_a_project_is_denied_at_the_project if {
	change := fixtures.update("Project", "search", fixtures.rows.projects.search, {"teams": [{"team": "platform", "role": "maintainer"}]})
	answer := found([change], gains({"project": "search", "role": "maintainer", "team": "platform"}))
	fixtures.places(answer, "search") == {"teams"}
}

test_gaining_through_what_a_role_allows_is_denied_at_the_role if {
	change := fixtures.update("Role", "auditor", fixtures.rows.roles.auditor, {"permissions": ["audit:read", "keys:read"]})
	answer := found([change], gains({"role": "auditor"}))
	fixtures.places(answer, "auditor") == {"permissions"}
}

test_gaining_by_waking_an_organization_is_denied_at_the_organization if {
	change := fixtures.update("Organization", "acme", object.union(fixtures.rows.organization, {"status": "suspended"}), {"status": "active"})
	answer := found([change], gains({}))
	fixtures.places(answer, "acme") == {"status"}
}

test_a_gain_that_nothing_explains_is_denied_without_a_place if {
	found([], gains({})) == {{
		"msg": "`grace@acme.example` would make themselves `owner`",
		"subject": "acme/Member/grace@acme.example",
	}}
}

test_who_founds_an_organization_may_own_it if {
	changes := [fixtures.create("Organization", "acme", {}), fixtures.create("Member", grace, {"roles": ["owner"]})]
	found(changes, gains({})) == set()
}

project(fields) := object.union({"displayName": "Maps", "members": [{"user": grace, "role": "maintainer"}]}, fields)

maintains(name) := gains({"project": name, "role": "maintainer"})

test_who_founds_a_project_may_maintain_it if {
	found([fixtures.create("Project", "maps", project({}))], maintains("maps")) == set()
	through_a_team := gains({"project": "maps", "role": "maintainer", "team": "platform"})
	found([fixtures.create("Project", "maps", project({}))], through_a_team) == set()
}

test_who_founds_a_project_gains_nothing_elsewhere if {
	changes := [fixtures.create("Project", "maps", project({})), promoted]
	both := array.concat(maintains("maps"), gains({}))
	fixtures.messages(found(changes, both)) == {"`grace@acme.example` would make themselves `owner`"}
	other := found([fixtures.create("Project", "maps", project({}))], maintains("search"))
	fixtures.messages(other) == {"`grace@acme.example` would make themselves `maintainer` of the project `search`"}
}

test_a_project_that_was_there_is_not_new_by_another_name_or_by_being_managed if {
	count(found([fixtures.rename("Project", "search", "maps", project({}))], maintains("maps"))) == 1
	count(found([fixtures.adopt("Project", "maps", project({}))], maintains("maps"))) == 1
}

test_a_project_that_somebody_deleted_by_hand_is_not_new if {
	gone := object.union(fixtures.create("Project", "maps", project({})), {"cause": "drift"})
	count(found([gone, promoted], maintains("maps"))) == 1
}

test_who_takes_over_the_membership_of_somebody_else_is_denied_there if {
	change := fixtures.rename("Member", "ada@acme.example", grace, {"roles": ["owner"]})
	answer := found([change], gains({}))
	fixtures.messages(answer) == {"`grace@acme.example` would make themselves `owner`"}
	fixtures.places(answer, grace) == {"roles"}
}

test_who_gets_back_what_drift_took_needs_somebody_else if {
	# Whether it is drift is said by the plan, and a plan may be saved and changed.
	count(found([object.union(promoted, {"cause": "drift"})], gains({}))) == 1
}
