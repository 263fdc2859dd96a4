package cli

import (
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/incident"
)

func (s *session) availabilityCommand() *cobra.Command {
	var from, until string
	c := &cobra.Command{
		Use: "availability", Short: "How much of a period every unit and every system was served", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, err := instantOf("--from", from)
			if err != nil {
				return err
			}
			end, err := instantOf("--until", until)
			if err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			list, err := c.Availability(cmd.Context(), begin, end)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]incident.Availability{}, list...))
			}
			s.showAvailability(list)
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "when the period begins, such as 2026-11-22T08:00:00+08:00 (default: 30 days before its end)")
	c.Flags().StringVar(&until, "until", "", "when it ends (default: now)")
	return c
}

func (s *session) showAvailability(list []incident.Availability) {
	var g grid
	g.cells(cell{s.say(colSystem), faint}, cell{s.say(colUnit), faint}, cell{s.say(colAvailable), faint}, cell{s.say(colUnplanned), faint}, cell{s.say(colDisruptions), faint}, cell{s.say(colLongestGap), faint}, cell{s.say(colPlanned), faint}, cell{s.say(colFromTime), faint}, cell{s.say(colUntil), faint})
	for _, a := range list {
		// Rounded down: what was disrupted never reads as 100 %.
		share, from := s.say(unknownFigure), "-"
		lasted := func(time.Duration) string { return "-" }
		if a.Available != nil {
			lasted = span
			share, from = fmt.Sprintf("%.5f %%", math.Floor(1e7**a.Available)/1e5), at(a.From.UnixMilli())
		}
		times := fmt.Sprint(a.Disruptions)
		if a.Available == nil {
			times = "-"
		}
		if a.Unmeasured > 0 {
			times += " " + s.say(andUnmeasured, a.Unmeasured)
		}
		g.cells(cell{text: string(a.System)}, cell{text: dash(string(a.Unit))}, cell{text: share}, cell{text: lasted(a.Unplanned)}, cell{text: times}, cell{text: lasted(a.Longest)}, cell{text: lasted(a.Planned)}, cell{text: from}, cell{text: at(a.Until.UnixMilli())})
	}
	g.write(s, s.Out, "")
}
