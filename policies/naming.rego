# METADATA
# title: Naming
# description: Names are read by people, in dashboards, invoices and logs. A name that is there already may stay.
package argus.naming

import data.argus.lib.changes

# What a name looks like: words of lower-case letters and digits with hyphens between them, the first letter a letter.
pattern := `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`

# How long a name may be.
chars_max := 40

# The kinds whose names follow the pattern. Members have the name of their address, tiers belong to the platform.
kinds := {"Organization", "Team", "Project", "ServiceAccount", "ApiKey", "Budget", "NotificationChannel", "NotificationRule"}

# Words that make a role look as if it were one of those that every organization has.
looks_built_in := `^(owners?|admins?|administrators?|members?|viewers?|root|super[-_]?(user|admin)|billing[-_]?admins?)$`

# METADATA
# title: Names follow one pattern
# description: The name of a new resource is in lower case with hyphens, begins with a letter, and is short.
# custom:
#   id: name-pattern
#   severity: low
#   remediation: choose a name such as `search-frontend`
deny_pattern contains finding if {
	some change in changes.written_of(kinds)
	not is_good(change.name)
	is_new_name(change)
	message := sprintf("`%s` is no name as names are here: lower case with hyphens, at most %d characters", [change.name, chars_max])
	finding := changes.finding(change, "", message)
}

# METADATA
# title: No role that looks built-in
# description: A role of the organization is not called like one that every organization has, so that nobody mistakes it.
# custom:
#   id: name-role
#   severity: medium
#   remediation: name the role after what it is for, such as `auditor`
deny_role contains finding if {
	some change in changes.written("Role")
	regex.match(looks_built_in, change.name)
	is_new_name(change)
	message := sprintf("the role `%s` looks like one that every organization has", [change.name])
	finding := changes.finding(change, "", message)
}

# METADATA
# title: People can tell what it is
# description: A new project or service account says in `displayName` or `description` what it is.
# custom:
#   id: name-described
#   severity: low
#   remediation: "add a `displayName` or a `description`"
warn_described contains finding if {
	some change in changes.written_of({"Project", "ServiceAccount"})
	change.before == null
	not says_what_it_is(change.after)
	message := sprintf("nothing says what the %s `%s` is", [change.kind, change.name])
	finding := changes.finding(change, "", message)
}

is_new_name(change) if change.before == null

is_new_name(change) if change.previousName != null

is_good(name) if {
	count(name) <= chars_max
	regex.match(pattern, name)
}

says_what_it_is(resource) if resource.displayName != ""

says_what_it_is(resource) if resource.description != ""
