# METADATA
# description: Members, and what they are.
package argus.lib.people

# Who would hold each role after the plan, now and after its moment.
holders := {role: emails |
	some role in held
	emails := {email | some email, member in active; role in member.roles}
}

held contains role if {
	some member in active
	some role in member.roles
}

active := {email: member |
	some email, member in input.after.members
	member.status != "suspended"
	not email in over
}

# Whose membership would have ended.
over contains email if {
	some email, member in input.after.members
	member.expiresAt != null
	member.expiresAt <= input.time
}

# Whether a member holds one of these roles, now and after the plan's moment.
holds(member, roles) if {
	is_active(member)
	some role in member.roles
	role in roles
}

is_active(member) if {
	member.status != "suspended"
	not is_over(member)
}

is_over(member) if {
	member.expiresAt != null
	member.expiresAt <= input.time
}
