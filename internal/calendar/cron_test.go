package calendar

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func in(t testing.TB, name string) *time.Location {
	t.Helper()
	place, err := readPlace(name)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func times(t testing.TB, fields, zone string) again {
	t.Helper()
	s, err := readCron(fields)
	if err != nil {
		t.Fatalf("%q: %v", fields, err)
	}
	return again{s, in(t, zone)}
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTimesThatComeAgainFollowTheClockOfTheirPlace(t *testing.T) {
	for name, c := range map[string]struct {
		fields, zone, after string
		want                []string
	}{
		"a day in a place without changes":     {"30 2 * * *", "Asia/Shanghai", "2026-11-22T00:00:00Z", []string{"2026-11-22T18:30:00Z", "2026-11-23T18:30:00Z"}},
		"in a gap it comes at its end":         {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"several in a gap come once":           {"*/10 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		"a repeated hour counts once":          {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"asked within the second pass":         {"*/30 * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"}},
		"midnight that is not there":           {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
		"half an hour back":                    {"0 2 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-04T15:30:00Z", "2026-04-05T15:30:00Z"}},
		"a day that was left out":              {"0 12 30,31 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", []string{"2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"}},
		"the end of months":                    {"0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", []string{"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
		"leap days":                            {"0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"leap days around 2100":                {"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		"either day where both are restricted": {"0 0 1 * mon", "UTC", "2026-11-22T00:00:00Z", []string{"2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"}},
	} {
		a, now := times(t, c.fields, c.zone), at(t, c.after)
		for _, want := range c.want {
			next := a.next(now)
			if !next.Equal(at(t, want)) {
				t.Errorf("%s: after %s comes %s, want %s", name, now, next.UTC(), want)
				break
			}
			if last := a.last(next); !last.Equal(next) {
				t.Errorf("%s: the last at %s is %s", name, next, last)
			}
			now = next
		}
	}
}

var zones = []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Antarctica/Troll"}

func aField(t *rapid.T, name string, low, high int) string {
	switch rapid.IntRange(0, 4).Draw(t, name) {
	case 0, 1:
		return "*"
	case 2:
		return "*/" + rapid.SampledFrom([]string{"2", "5", "7", "10", "15"}).Draw(t, name+" step")
	case 3:
		a := rapid.IntRange(low, high).Draw(t, name+" from")
		return itoa(a) + "-" + itoa(rapid.IntRange(a, high).Draw(t, name+" to"))
	}
	return itoa(rapid.IntRange(low, high).Draw(t, name+" one")) + "," + itoa(rapid.IntRange(low, high).Draw(t, name+" two"))
}

func itoa(n int) string {
	return strings.TrimLeft(string([]byte{byte('0' + n/10), byte('0' + n%10)}), "0") + map[bool]string{true: "0"}[n == 0]
}

func TestNextNeverGoesBackAndLeavesNothingOut(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		fields := strings.Join([]string{aField(r, "minute", 0, 59), aField(r, "hour", 0, 23), aField(r, "day", 1, 31), aField(r, "month", 1, 12), aField(r, "weekday", 0, 6)}, " ")
		s, err := readCron(fields)
		if err != nil {
			r.Skip(err)
		}
		a := again{s, in(t, rapid.SampledFrom(zones).Draw(r, "zone"))}
		now := time.Unix(rapid.Int64Range(1_000_000_000, 2_500_000_000).Draw(r, "now"), rapid.Int64Range(0, 999_999_999).Draw(r, "nanos"))
		next := a.next(now)
		if !next.After(now) {
			r.Fatalf("%s: %s comes after %s", fields, next, now)
		}
		between := now.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(now))-1).Draw(r, "between")))
		if again := a.next(between); !again.Equal(next) {
			r.Fatalf("%s: after %s comes %s, but after %s %s", fields, now, next, between, again)
		}
		if last := a.last(next); !last.Equal(next) {
			r.Fatalf("%s: the last at %s is %s", fields, next, last)
		}
		if last := a.last(next.Add(-1)); !last.Before(next) || !last.IsZero() && !a.next(last).Equal(next) {
			r.Fatalf("%s: the last before %s is %s, and after that comes %s", fields, next, last, a.next(last))
		}
	})
}

func TestEveryMinuteOfAWallComesOnceAndInOrder(t *testing.T) {
	for _, zone := range zones {
		place, wall, before := in(t, zone), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}
		for range 366 * 96 {
			now := instant(wall, place)
			if now.Before(before) {
				t.Fatalf("%s: %s is %s, before %s", zone, wall, now, before)
			}
			wall, before = wall.Add(15*time.Minute), now
		}
	}
}

func TestFieldsThatMeanNothingAreRefused(t *testing.T) {
	for fields, why := range map[string]string{
		"0 0 30 2 *":   "never comes",
		"0 0 31 4,6 *": "never comes",
		"60 0 * * *":   "above maximum",
		"0 24 * * *":   "above maximum",
		"0 0 0 * *":    "below minimum",
		"0 0 * * 7":    "above maximum",
		"0 0 * foo *":  "foo",
		"5-1 0 * * *":  "beyond end",
		"*/0 0 * * *":  "positive",
		"0 0 * *":      "5 fields",
	} {
		if _, err := readCron(fields); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", fields, err)
		}
	}
	for _, zone := range []string{"", "Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := readPlace(zone); err == nil {
			t.Errorf("time zone %q is accepted", zone)
		}
	}
}

func FuzzFieldsOfATimeNeverPanicAndNeverGoBack(f *testing.F) {
	for _, text := range []string{"* * * * *", "30 2 * * mon-fri", "*/15 0-6 1,15 jan,dec sun", "0 0 29 2 *", "0 0 31 11 *", "1/99 * * * *", "0 0 * * 0/6"} {
		f.Add(text, int64(1_770_000_000))
	}
	shape := cronShape()
	place := in(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, second int64) {
		if !shape.Form.MatchString(text) || len(text) > shape.High || second < 0 || second > 4e9 {
			t.Skip()
		}
		s, err := readCron(text)
		if err != nil {
			return
		}
		if period(s) < time.Minute {
			t.Errorf("%q comes again after %s", text, period(s))
		}
		now := time.Unix(second, 0)
		if next := (again{s, place}).next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q: after %s comes %s", text, now, next)
		}
	})
}
