# METADATA
# title: Self-promotion
# description: Nobody decides on their own what they may do.
package argus.promotion

import data.argus.lib.changes

# METADATA
# title: Nobody raises their own role
# description: |
#   Whoever wrote the commit, and whoever runs Argus, gains nothing by the plan, be it through a role, a team, a project, a
#   membership that would have ended or the membership of somebody else that becomes theirs. Somebody else has to propose
#   it. In a new organization there is nobody else yet, and in a new project nothing that was not theirs.
# custom:
#   id: own-role
#   severity: critical
#   remediation: ask a colleague to make this change
deny_own_role contains finding if {
	not changes.organization_is_new
	some grant in input.access.gained
	lower(grant.person) in input.authors
	not grant.project in projects_new
	message := sprintf("`%s` would make themselves `%s`%s", [grant.person, grant.role, whereabouts(grant)])
	about := {"msg": message, "subject": sprintf("%s/Member/%s", [input.organization, grant.person])}
	finding := object.union(about, place(grant))
}

# The projects that the plan brings. Those with another name, and those that become managed, were there before.
projects_new := {change.name |
	some change in changes.written("Project")
	change.action == "create"
	change.cause == "change"
}

whereabouts(grant) := sprintf(" of the project `%s` through the team `%s`", [grant.project, grant.team]) if {
	grant.team != null
} else := sprintf(" of the project `%s`", [grant.project]) if {
	grant.project != null
} else := ""

# Where the grant comes from: what the plan writes of the team, the project, the membership, the role or the organization.
place(grant) := places[0] if {
	sources := [
		["Team", grant.team, "members"],
		["Project", grant.project, members_of_project(grant)],
		["Member", grant.person, "roles"],
		["Role", grant.role, "permissions"],
		["Organization", input.organization, "status"],
	]
	places := [{"origin": change.origin, "path": path} |
		some [kind, name, path] in sources
		some change in changes.written(kind)
		change.name == name
	]
	count(places) > 0
} else := {}

members_of_project(grant) := "teams" if {
	grant.team != null
} else := "members"
