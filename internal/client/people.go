package client

import (
	"context"
	"net/http"

	"perdure/internal/wire"
)

// Login opens a session.
func (c *Client) Login(ctx context.Context, l wire.Login) (wire.NewSession, error) {
	var v wire.NewSession
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/login", in: l, out: &v, once: true})
	return v, err
}

// SignOnInfo says where people sign on.
func (c *Client) SignOnInfo(ctx context.Context) (wire.SignOnInfo, error) {
	return get[wire.SignOnInfo](ctx, c, "/api/v1/oidc", nil)
}

// SignOn opens a session with a code of the provider.
func (c *Client) SignOn(ctx context.Context, ask wire.SignOn) (wire.NewSession, error) {
	var v wire.NewSession
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/oidc/login", in: ask, out: &v, once: true})
	return v, err
}

// BeginDevice begins a sign-on that is confirmed on another device.
func (c *Client) BeginDevice(ctx context.Context) (wire.DeviceStart, error) {
	var v wire.DeviceStart
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/oidc/device", out: &v, once: true})
	return v, err
}

// AwaitDevice waits some seconds for the confirmation; Conflict: not yet.
func (c *Client) AwaitDevice(ctx context.Context, ask wire.DeviceWait) (wire.NewSession, error) {
	var v wire.NewSession
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/oidc/device/login", in: ask, out: &v, once: true})
	return v, err
}

// StepUp shows one's second factor in the session that the client shows.
func (c *Client) StepUp(ctx context.Context, ask wire.StepUp) (wire.Session, error) {
	var v wire.Session
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/me/step-up", in: ask, out: &v, once: true, changes: true})
	return v, err
}

// LinkUser says who a user is for the provider of single sign-on.
func (c *Client) LinkUser(ctx context.Context, name, subject string) (wire.User, error) {
	return c.user(ctx, http.MethodPut, "/api/v1/users/"+esc(name)+"/subject", map[string]string{"subject": subject})
}

// Logout ends the session that the client shows.
func (c *Client) Logout(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/api/v1/logout"})
}

// ChangePassword changes one's own password; all own sessions end.
func (c *Client) ChangePassword(ctx context.Context, ask wire.NewPassword) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/api/v1/me/password", in: ask, once: true, changes: true})
}

// SetFactor enrols one's own second factor and gives its recovery codes.
func (c *Client) SetFactor(ctx context.Context, ask wire.NewFactor) ([]string, error) {
	var v struct {
		Codes []string `json:"codes"`
	}
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/me/second-factor", in: ask, out: &v, once: true, changes: true})
	return v.Codes, err
}

// Sessions lists one's own sessions; an admin's answer has everybody's.
func (c *Client) Sessions(ctx context.Context) ([]wire.Session, error) {
	return list[wire.Session](ctx, c, "/api/v1/sessions", nil, 0)
}

// EndSession ends a session at once.
func (c *Client) EndSession(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/sessions/" + esc(id), once: true, changes: true})
}

// Users lists all users, without anything secret.
func (c *Client) Users(ctx context.Context) ([]wire.User, error) {
	return list[wire.User](ctx, c, "/api/v1/users", nil, 0)
}

// AddUser adds a user.
func (c *Client) AddUser(ctx context.Context, u wire.NewUser) (wire.User, error) {
	return c.user(ctx, http.MethodPost, "/api/v1/users", u)
}

// ResetPassword sets the password of a user; their sessions and their second factor end.
func (c *Client) ResetPassword(ctx context.Context, name, password string) (wire.User, error) {
	return c.user(ctx, http.MethodPut, "/api/v1/users/"+esc(name)+"/password", map[string]string{"password": password})
}

// SetUserRoles gives a user other roles.
func (c *Client) SetUserRoles(ctx context.Context, name string, roles []wire.Role) (wire.User, error) {
	return c.user(ctx, http.MethodPut, "/api/v1/users/"+esc(name)+"/roles", map[string][]wire.Role{"roles": roles})
}

// SetUserParticipant says to which participant a user belongs; empty: to none.
func (c *Client) SetUserParticipant(ctx context.Context, name, participant string) (wire.User, error) {
	return c.user(ctx, http.MethodPut, "/api/v1/users/"+esc(name)+"/participant", map[string]string{"participant": participant})
}

// LockUser keeps a user out ("lock"), or lets them in again ("unlock").
func (c *Client) LockUser(ctx context.Context, name, word string) (wire.User, error) {
	return c.user(ctx, http.MethodPost, "/api/v1/users/"+esc(name)+"/"+word, nil)
}

// RemoveUser ends a user for good.
func (c *Client) RemoveUser(ctx context.Context, name string) (wire.User, error) {
	return c.user(ctx, http.MethodDelete, "/api/v1/users/"+esc(name), nil)
}

func (c *Client) user(ctx context.Context, method, path string, in any) (wire.User, error) {
	var v wire.User
	err := c.do(ctx, call{method: method, path: path, in: in, out: &v, once: true, changes: true})
	return v, err
}

// Policy is what the estate wants of people.
func (c *Client) Policy(ctx context.Context) (wire.Policy, error) {
	return get[wire.Policy](ctx, c, "/api/v1/policy", nil)
}

// SetPolicy says what the estate wants of people.
func (c *Client) SetPolicy(ctx context.Context, p wire.PolicyChange) (wire.Policy, error) {
	var v wire.Policy
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/policy", in: p, out: &v})
	return v, err
}

// AddKey adds a key that one signs decisions with.
func (c *Client) AddKey(ctx context.Context, k wire.NewSigningKey) (wire.SigningKey, error) {
	var v wire.SigningKey
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/me/keys", in: k, out: &v, once: true, changes: true})
	return v, err
}

// Keys lists one's own keys.
func (c *Client) Keys(ctx context.Context) ([]wire.SigningKey, error) {
	return get[[]wire.SigningKey](ctx, c, "/api/v1/me/keys", nil)
}

// RevokeKey ends a key of a user for good; of nobody: one of one's own.
func (c *Client) RevokeKey(ctx context.Context, user, id string) (wire.SigningKey, error) {
	var v wire.SigningKey
	whose := "/api/v1/users/" + esc(user)
	if user == "" {
		whose = "/api/v1/me"
	}
	err := c.do(ctx, call{method: http.MethodDelete, path: whose + "/keys/" + esc(id), out: &v, once: true, changes: true})
	return v, err
}

// Inbox is what waits for whom the client acts for, the oldest first.
func (c *Client) Inbox(ctx context.Context) ([]wire.InboxItem, error) {
	return list[wire.InboxItem](ctx, c, "/api/v1/inbox", nil, 0)
}
