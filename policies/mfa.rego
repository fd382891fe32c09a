# METADATA
# title: A second factor for administrators
# description: Who may change an organization signs in with more than a password.
package argus.mfa

import data.argus.lib.changes
import data.argus.lib.people

# The roles that make an administrator.
roles_of_administrators := {"owner", "admin"}

# METADATA
# title: Administrators need a second factor
# description: |
#   An organization with owners or admins requires a second factor (`requireMfa`) or enforces its single sign-on, which
#   then asks for one.
# custom:
#   id: mfa-administrators
#   severity: high
#   remediation: "set `requireMfa: true`, or enforce single sign-on (`sso.enforced: true`)"
deny_unprotected contains finding if {
	not is_protected(input.after.organization)
	some change in changes.written("Organization")
	changes.writes(change, {"requireMfa", "sso.enforced"})
	administrators := {email | some role in roles_of_administrators; some email in people.holders[role]}
	count(administrators) > 0
	message := sprintf("%d of its members administer `%s`, and none of them would need a second factor", [count(administrators), change.name])
	finding := changes.finding(change, "requireMfa", message)
}

deny_unprotected contains finding if {
	not is_protected(input.after.organization)
	not changes.organization_is_new
	some change in changes.written("Member")
	people.holds(change.after, roles_of_administrators)
	not people.holds(change.before, roles_of_administrators)
	message := sprintf("`%s` would administer an organization that asks for no second factor", [change.name])
	finding := changes.finding(change, "roles", message)
}

is_protected(organization) if organization.requireMfa == true

is_protected(organization) if organization.sso.enforced == true
