package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/duty"
)

func (s *session) dutyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "duty", Short: "Who is on duty now, until when, and who comes next; gaps ahead, and who could not answer", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Duty(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(v)
			}
			s.showDuty(v)
			return nil
		},
	}
}

func (s *session) showDuty(v duty.View) {
	if len(v.Duties) == 0 {
		fmt.Fprintln(s.Out, s.say(noDuty))
		return
	}
	var g grid
	g.cells(cell{s.say(colDuty), faint}, cell{s.say(colFor), faint}, cell{s.say(colOnDuty), faint}, cell{s.say(colUntil), faint}, cell{s.say(colThen), faint})
	for _, d := range v.Duties {
		on := cell{s.onDuty(d.People), green}
		if len(d.People) == 0 {
			on.colour = yellow
		}
		then := "-"
		if !d.Until.IsZero() {
			then = s.onDuty(d.Next)
		}
		name := d.Name
		if d.Title != "" {
			name += " (" + d.Title + ")"
		}
		g.cells(cell{text: name}, cell{text: d.Of}, on, cell{text: placed(d.Until)}, cell{text: then})
	}
	g.write(s, s.Out, "")
	for _, f := range v.Findings {
		text := f.Reason
		if f.Gap != nil {
			text = s.say(dutyGap, placed(f.Gap.From), s.orNever(f.Gap.Until))
		} else {
			text = s.say(dutyUnable, placed(f.From), text)
		}
		fmt.Fprintf(s.Out, "%s: %s: %s\n", s.paint(yellow, s.say(doubtful)), f.Duty, text)
	}
}

func (s *session) orNever(t time.Time) string {
	if t.IsZero() {
		return s.say(furtherNotice)
	}
	return placed(t)
}

// onDuty names people, with for whom they stand in.
func (s *session) onDuty(people []duty.Person) string {
	if len(people) == 0 {
		return s.say(nobodyWord)
	}
	names := make([]string, len(people))
	for i, p := range people {
		names[i] = p.Name
		if p.InPlaceOf != "" {
			names[i] += " " + s.say(inPlaceOf, p.InPlaceOf)
		}
	}
	return strings.Join(names, ", ")
}
