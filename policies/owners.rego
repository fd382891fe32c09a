# METADATA
# title: Owners
# description: An organization outlives the holiday, and the account, of one person.
package argus.owners

import data.argus.lib.changes
import data.argus.lib.people

# How many active owners an organization needs.
owners_min := 2

# Tiers for which fewer are enough: what one person tries out alone.
owners_min_of_tier := {"free": 1, "explorer": 1}

# METADATA
# title: At least two owners
# description: |
#   A new organization has enough active owners, and a plan takes none away where fewer would stay. An organization that
#   never had enough passes as long as it does not get worse, and is warned.
# custom:
#   id: owners-few
#   severity: high
#   remediation: make somebody else an owner in the same change
deny_few contains finding if {
	some change in changes.written("Organization")
	change.before == null
	owners < needed
	finding := changes.finding(change, "", too_few)
}

deny_few contains finding if {
	some change in losses
	owners < needed
	finding := changes.finding(change, "roles", too_few)
}

# METADATA
# title: One owner is few
# description: The organization has had fewer owners than it needs, and the plan leaves it so while it changes its members.
# custom:
#   id: owners-still-few
#   severity: medium
#   remediation: make somebody else an owner
warn_still_few contains finding if {
	count(touched) > 0
	count(losses) == 0
	not changes.organization_is_new
	owners < needed
	organization := input.after.organization
	subject := sprintf("Organization/%s", [organization.name])
	finding := {"msg": too_few, "subject": subject, "origin": organization.origin}
}

too_few := sprintf("%d active %s would be there, and the tier needs %d", [owners, noun, needed])

noun := "owner" if {
	owners == 1
} else := "owners"

# Of an organization that goes nobody has to stay.
needed := object.get(owners_min_of_tier, [tier], owners_min) if {
	organization := input.after.organization
	organization != null
	tier := object.get(organization, "tier", "none")
}

# The changes that take an owner away, or what makes one.
losses contains change if {
	some change in changes.deleted("Member")
	people.holds(change.before, {"owner"})
}

losses contains change if {
	some change in changes.written("Member")
	change.before != null
	people.holds(change.before, {"owner"})
	not people.holds(change.after, {"owner"})
}

# The changes of members.
touched := array.concat(changes.written("Member"), changes.deleted("Member"))

# The owners as they would be.
owners := count(object.get(people.holders, "owner", set()))
