package api

import (
	"context"
	"strconv"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

type eventsInput struct {
	After  int64 `query:"after" minimum:"0" doc:"only events of revisions above this one"`
	Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"about so many: those of one revision stay together"`
	Newest bool  `query:"newest" doc:"the last ones instead of the first ones"`
	Freshness
}

func (s *Server) listEvents(ctx context.Context, in *eventsInput) (*page[wire.Event], error) {
	events, err := s.d.Store.Events(ctx, in.After, in.Limit, in.Newest, in.Read)
	if err != nil {
		return nil, err
	}
	out := &page[wire.Event]{Body: events}
	if len(events) >= in.Limit && !in.Newest {
		out.Link = next(ctx, strconv.FormatInt(events[len(events)-1].Revision, 10))
	}
	return out, nil
}

func (s *Server) listTokens(ctx context.Context, in *struct {
	Paging
	Freshness
},
) (*page[wire.Token], error) {
	tokens, err := s.d.Store.Tokens(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	return pageOf(ctx, in.Paging, tokens, func(t wire.Token) place { return place{t.Created, t.ID} })
}

func (s *Server) createToken(ctx context.Context, in *struct{ Body wire.AskToken }) (*body[wire.NewToken], error) {
	if in.Body.Name == wire.ByCalendar {
		return nil, errs.New(errs.Invalid, "no person may be called %q: the platform starts the runs of schedules in that name", in.Body.Name)
	}
	if err := s.mayBelong(ctx, in.Body.Name, in.Body.Participant, in.Body.Tenant); err != nil {
		return nil, err
	}
	return answer(s.d.Store.CreateToken(ctx, who(ctx).Name, in.Body))
}

func (s *Server) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id"`
},
) (*nothing, error) {
	return nil, s.d.Store.RevokeToken(ctx, who(ctx).Name, in.ID)
}
