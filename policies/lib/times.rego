# METADATA
# description: Moments and lengths of time as manifests write them.
package argus.lib.times

seconds_of_unit := {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# The seconds of a length of time, as in `90d`.
seconds(length) := to_number(digits) * seconds_of_unit[unit] if {
	unit := substring(length, count(length) - 1, -1)
	digits := substring(length, 0, count(length) - 1)
}

# The moment that lies some days after that of the plan. Moments are compared as texts: all are in UTC, to the second, and
# those beyond the year 2262 have no number of nanoseconds.
in_days(days) := time.format(time.add_date(time.parse_rfc3339_ns(input.time), 0, 0, days))
