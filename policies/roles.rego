# METADATA
# title: Roles
# description: What allows everything is for owners. Everybody else gets what they need by name.
package argus.roles

import data.argus.lib.changes

# Areas of which a role may allow every verb, as in `notifications:*`. `*` alone is never allowed.
areas_open := set()

# METADATA
# title: No wildcard in a role
# description: A role allows what it names. `*`, and `area:*` of areas that are not open, also allow what comes later.
# custom:
#   id: role-wildcard
#   severity: critical
#   remediation: name the permissions one by one, or make the person an owner
deny_wildcard contains finding if {
	some change in changes.written("Role")
	some permission in change.after.permissions
	is_wildcard(permission)
	not changes.had(change, "permissions", permission)
	message := sprintf("the role `%s` would allow `%s`, which is for owners", [change.name, permission])
	finding := changes.finding(change, "permissions", message)
}

# METADATA
# title: No program is an owner
# description: A service account with the role `owner` may do everything, and nobody signs in as it with a second factor.
# custom:
#   id: role-program-owner
#   severity: critical
#   remediation: give the service account a role of its own that allows what the program does
deny_program_owner contains finding if {
	some change in changes.written("ServiceAccount")
	"owner" in change.after.roles
	not changes.had(change, "roles", "owner")
	message := sprintf("the service account `%s` would be an owner", [change.name])
	finding := changes.finding(change, "roles", message)
}

is_wildcard(permission) if permission == "*"

is_wildcard(permission) if {
	endswith(permission, ":*")
	not trim_suffix(permission, ":*") in areas_open
}
