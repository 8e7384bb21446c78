#include "common/rpc/handler.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/metrics/metric_names.h"

namespace dasm {

RpcMetrics::RpcMetrics(Metrics* metrics, Clock* clock)
    : clock_(clock),
      handled_(metrics->Counters(kGrpcServerHandled)),
      seconds_(metrics->Histograms(kGrpcServerHandlingSeconds)) {}

void RpcMetrics::Record(std::string_view method, absl::StatusCode code,
                        absl::Duration elapsed) {
  const std::string name(method);
  handled_.Add({{"method", name}, {"code", absl::StatusCodeToString(code)}})
      .Increment();
  seconds_.Add({{"method", name}}, SecondsBuckets())
      .Observe(absl::ToDoubleSeconds(elapsed));
}

namespace rpc {

absl::Status FromException(std::string_view method, const char* what) {
  DASM_LOG(ERROR, "handler threw")
      .Kv("method", std::string(method))
      .Kv("what", what);
  return absl::InternalError(
      absl::StrCat(std::string(method), " failed unexpectedly: ", what));
}

}  // namespace rpc
}  // namespace dasm
