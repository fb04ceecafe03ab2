package system

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/shop"
)

// Who may not see the settings of a broker does not know whom it lets in where no ACL is.
func TestBrokerFacts_of_a_user_who_sees_no_settings(t *testing.T) {
	b := kafkatest.Kfake(t)
	b.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range req.(*kmsg.DescribeConfigsRequest).Resources {
			r := kmsg.NewDescribeConfigsResponseResource()
			r.ResourceType, r.ResourceName, r.ErrorCode = asked.ResourceType, asked.ResourceName, kerr.ClusterAuthorizationFailed.Code
			resp.Resources = append(resp.Resources, r)
		}
		return resp, nil, true
	})
	live := BrokerFacts(t.Context(), shop.Topology(), b.Client(t), config.Bus{})
	i := slices.IndexFunc(live.Unknown, func(u policies.Unknown) bool { return u.Part == "acls" })
	if live.Broker != nil || i < 0 || !strings.Contains(live.Unknown[i].Why, "no ACL is about shop.order.events") {
		t.Errorf("%+v", live)
	}
}
