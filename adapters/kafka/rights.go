package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Right is an operation on a resource that a user has to be allowed.
type Right struct {
	Resource  kmsg.ACLResourceType
	Name      string // of the resource; "" for the cluster
	Operation kmsg.ACLOperation
}

// Denied says in words which right a user lacks.
func Denied(user string, r Right) string { return denials(user, []Right{r})[0] }

// denials are sentences about missing rights, one for each operation on a kind of resource.
func denials(user string, missing []Right) []string {
	if user == "" {
		user = "ANONYMOUS"
	}
	var all []string
	for i, r := range missing {
		same := func(other Right) bool { return other.Resource == r.Resource && other.Operation == r.Operation }
		if slices.ContainsFunc(missing[:i], same) {
			continue
		}
		var names []string
		for _, other := range missing[i:] {
			if same(other) {
				names = append(names, other.Name)
			}
		}
		all = append(all, fmt.Sprintf("User:%s lacks the right %s on %s", user, OperationName(r.Operation), strings.TrimSpace(ResourceName(r.Resource)+" "+shorten(names))))
	}
	return all
}

// OperationName is how Kafka's tools spell an operation: DescribeConfigs.
func OperationName(o kmsg.ACLOperation) string {
	var b strings.Builder
	for word := range strings.SplitSeq(o.String(), "_") {
		b.WriteString(title(word))
	}
	return b.String()
}

// ResourceName is a kind of resource in words.
func ResourceName(r kmsg.ACLResourceType) string {
	return strings.ToLower(strings.ReplaceAll(r.String(), "_", " "))
}

// Denials are sentences about those of the rights that the client's user lacks, none if the cluster admits everyone. It
// changes nothing: brokers tell what a user may do with a topic that is there; for the rest they are asked for what
// cannot be, and refuse it with another error to those who have the right. What a broker does not tell counts as allowed.
func Denials(ctx context.Context, client *kgo.Client, user string, rights []Right) ([]string, error) {
	p := probe{client: client, admin: kadm.NewClient(client)}
	if err := p.topics(ctx, rights); err != nil {
		return nil, err
	}
	var missing []Right
	for _, r := range rights {
		if p.denied(ctx, r) {
			missing = append(missing, r)
		}
	}
	return denials(user, missing), nil
}

// probe finds out what a user may do.
type probe struct {
	client *kgo.Client
	admin  *kadm.Client
	seen   map[string]kmsg.MetadataResponseTopic
}

// topics asks what may be done with those that rights are about. kadm would answer with the first that is denied.
func (p *probe) topics(ctx context.Context, rights []Right) error {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	p.seen = map[string]kmsg.MetadataResponseTopic{}
	for _, r := range rights {
		if _, asked := p.seen[r.Name]; r.Resource != kmsg.ACLResourceTypeTopic || asked {
			continue
		}
		p.seen[r.Name] = kmsg.MetadataResponseTopic{}
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &r.Name
		req.Topics = append(req.Topics, topic)
	}
	if len(req.Topics) == 0 { // none would mean all
		return nil
	}
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return fmt.Errorf("asking the cluster what may be done with its topics: %w", err)
	}
	for _, topic := range resp.Topics {
		if topic.Topic != nil {
			p.seen[*topic.Topic] = topic
		}
	}
	return nil
}

func (p *probe) denied(ctx context.Context, r Right) bool {
	switch r.Resource {
	case kmsg.ACLResourceTypeTopic:
		topic := p.seen[r.Name]
		if topic.ErrorCode != 0 {
			return topic.ErrorCode == kerr.TopicAuthorizationFailed.Code
		}
		may := kadm.DecodeACLOperations(topic.AuthorizedOperations)
		return len(may) > 0 && !slices.Contains(may, r.Operation)
	case kmsg.ACLResourceTypeGroup:
		return errors.Is(p.group(ctx, r), kerr.GroupAuthorizationFailed)
	case kmsg.ACLResourceTypeTransactionalId:
		return errors.Is(p.transaction(ctx, r), kerr.TransactionalIDAuthorizationFailed)
	default:
		return errors.Is(p.cluster(ctx), kerr.ClusterAuthorizationFailed)
	}
}

// group asks for offsets, which takes Describe, or sends the heartbeat of a member that there is not, which takes Read.
func (p *probe) group(ctx context.Context, r Right) error {
	if r.Operation == kmsg.ACLOperationDescribe {
		_, err := p.admin.FetchOffsets(ctx, r.Name)
		return err
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = r.Name, math.MaxInt32, "nobody"
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// transaction aborts one of a producer that there is not.
func (p *probe) transaction(ctx context.Context, r Right) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID = r.Name, math.MaxInt64
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// cluster asks a broker for its settings.
func (p *probe) cluster(ctx context.Context) error {
	meta, err := p.admin.BrokerMetadata(ctx)
	if err != nil || len(meta.Brokers) == 0 {
		return err
	}
	described, err := p.admin.DescribeBrokerConfigs(ctx, meta.Brokers[0].NodeID)
	for _, r := range described {
		err = errors.Join(err, r.Err)
	}
	return err
}
