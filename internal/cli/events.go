package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"perdure/internal/wire"
)

func (s *session) eventsCommand() *cobra.Command {
	var limit int
	var after int64
	c := &cobra.Command{
		Use: "events", Short: "The audit log: who did what, the newest last", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d is out of range; allowed: 1 to 1000", limit)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			events, err := c.Events(cmd.Context(), after, limit, after == 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.Event{}, events...))
			}
			g := &grid{}
			for _, e := range events {
				g.row(fmt.Sprint(e.Revision), at(e.At), e.Who, e.What, e.Subject, string(e.Detail))
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "how many, at most 1000")
	c.Flags().Int64Var(&after, "after", 0, "only those behind this revision, the oldest first")
	return c
}
