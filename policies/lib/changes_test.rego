package argus.lib.changes_test

import data.argus.lib.changes
import data.argus.lib.fixtures

created := fixtures.create("Team", "a", {"displayName": "A"})

updated := fixtures.update("Team", "b", {}, {"displayName": "B"})

released := object.union(fixtures.adopt("Team", "d", {}), {"action": "release"})

names(rows) := {change.name | some change in rows}

test_what_comes_changes_or_is_adopted_is_written if {
	doc := fixtures.plan([
		created,
		updated,
		fixtures.adopt("Team", "c", {}),
		released,
		fixtures.delete("Team", "e", {}),
		fixtures.create("Role", "r", {}),
	])
	teams := changes.written("Team") with input as doc
	names(teams) == {"a", "b", "c"}
	roles := changes.written("Role") with input as doc
	names(roles) == {"r"}
	projects := changes.written("Project") with input as doc
	projects == []
}

test_what_goes_is_deleted if {
	doc := fixtures.plan([created, released, fixtures.delete("Team", "e", {}), fixtures.delete("Role", "r", {})])
	teams := changes.deleted("Team") with input as doc
	names(teams) == {"e"}
	projects := changes.deleted("Project") with input as doc
	projects == []
}

test_an_organization_is_new_only_where_it_is_created if {
	changes.organization_is_new with input as fixtures.plan([fixtures.create("Organization", "acme", {})])
	not changes.organization_is_new with input as fixtures.plan([fixtures.update("Organization", "acme", {}, {"tier": "team"})])
	not changes.organization_is_new with input as fixtures.plan([created])
}

test_an_organization_goes_only_where_it_is_deleted if {
	changes.organization_goes with input as fixtures.plan([fixtures.delete("Organization", "acme", {})])
	not changes.organization_goes with input as fixtures.plan([fixtures.delete("Team", "a", {})])
}

test_all_of_a_new_row_is_written if changes.writes(created, {"parent"})

test_of_another_row_only_what_differs_is_written if {
	changes.writes(updated, {"parent", "displayName"})
	not changes.writes(updated, {"parent"})
}

test_what_a_list_held_is_known if {
	was := fixtures.update("Role", "r", {"permissions": ["a:b"]}, {"permissions": ["c:d"]})
	changes.had(was, "permissions", "a:b")
	not changes.had(was, "permissions", "c:d")
	not changes.had(fixtures.create("Role", "r", {"permissions": ["a:b"]}), "permissions", "a:b")
}

test_a_finding_names_the_resource_and_the_field if {
	here := {"organization": "acme"}
	found := changes.finding(updated, "displayName", "no") with input as here
	found == {"msg": "no", "subject": "acme/Team/b", "origin": fixtures.origin("b"), "path": "displayName"}
}

test_what_a_finding_is_about_is_named_as_everywhere if {
	organization := fixtures.create("Organization", "acme", {})
	tier := fixtures.create("Tier", "team", {})
	here := {"organization": "acme"}
	changes.subject(created) == "acme/Team/a" with input as here
	changes.subject(organization) == "Organization/acme" with input as here
	changes.subject(tier) == "Tier/team" with input as here
}
