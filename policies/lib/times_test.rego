package argus.lib.times_test

import data.argus.lib.times

test_lengths_of_time_are_seconds if {
	every length, seconds in {"45s": 45, "30m": 1800, "24h": 86400, "90d": 7776000, "2w": 1209600, "0s": 0} {
		times.seconds(length) == seconds
	}
}

test_a_unit_that_nobody_knows_is_no_length if not times.seconds("1y")

test_days_lead_over_the_end_of_a_month_and_into_leap_years if {
	every now, later in {
		"2026-03-01T09:00:00Z": "2027-03-01T09:00:00Z",
		"2027-03-01T09:00:00Z": "2028-02-29T09:00:00Z",
		"2028-02-29T00:00:00Z": "2029-02-28T00:00:00Z",
		"2026-12-31T23:59:59Z": "2027-12-31T23:59:59Z",
	} {
		found := times.in_days(365) with input as {"time": now}
		found == later
	}
}
