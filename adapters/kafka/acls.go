package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrNoAuthorizer says that a cluster asks nobody what they may do.
var ErrNoAuthorizer = errors.New("the broker has no authorizer")

// ErrNotTold says that a user may not see the ACLs.
var ErrNotTold = errors.New("the ACLs are not told")

// ACL is a binding as the cluster has it, in the words of Kafka's tools.
type ACL struct {
	Principal  string // "User:gateway"
	Host       string // "*" is any
	Permission string // "Allow" or "Deny"
	Operation  string // "DescribeConfigs"
	Resource   string // "topic", "transactional id"
	Name       string // of the resource, "*" for all, or the beginning of names
	Pattern    string // "literal" or "prefixed"
}

// ACLs lists what principals are allowed and denied on the cluster.
//
// Errors: [ErrNoAuthorizer], [ErrNotTold], or that of the request.
func ACLs(ctx context.Context, client *kgo.Client) ([]ACL, error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.SecurityDisabled):
		return nil, ErrNoAuthorizer
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return nil, ErrNotTold
	case err != nil:
		return nil, fmt.Errorf("asking the cluster for its ACLs: %w", err)
	}
	all := []ACL{}
	for _, r := range resp.Resources {
		for _, a := range r.ACLs {
			all = append(all, ACL{
				Principal: a.Principal, Host: a.Host,
				Permission: title(a.PermissionType.String()), Operation: OperationName(a.Operation),
				Resource: ResourceName(r.ResourceType), Name: r.ResourceName, Pattern: strings.ToLower(r.ResourcePatternType.String()),
			})
		}
	}
	slices.SortFunc(all, func(a, b ACL) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all, nil
}

// Reaches says whether the binding is about a resource of that kind and name.
func (a ACL) Reaches(resource, name string) bool {
	if a.Resource != resource {
		return false
	}
	return a.Name == name || a.Pattern == "literal" && a.Name == "*" || a.Pattern == "prefixed" && strings.HasPrefix(name, a.Name)
}

func title(word string) string { return word[:1] + strings.ToLower(word[1:]) }
