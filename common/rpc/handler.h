// The one wrapper around every RPC handler: turns absl::Status into
// grpc::Status with details, keeps exceptions from ending the server, and
// counts.
//
//   grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
//                       v1::Job* response) override {
//     return rpc::Handle(metrics_, "JobService/GetJob", [&] { ... });
//   }
#ifndef DASM_COMMON_RPC_HANDLER_H_
#define DASM_COMMON_RPC_HANDLER_H_

#include <exception>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/rpc/grpc_status.h"
#include "grpcpp/support/status.h"

namespace dasm {

// grpc_server_handled_total{method,code} and grpc_server_handling_seconds.
// Thread-safe.
class RpcMetrics {
 public:
  explicit RpcMetrics(Metrics* metrics, Clock* clock = SystemClock());
  // For what Handle() does not fit: reactors report themselves when they end.
  void Record(std::string_view method, absl::StatusCode code,
              absl::Duration elapsed);
  Clock* clock() const { return clock_; }

 private:
  Clock* const clock_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Family<prometheus::Histogram>& seconds_;
};

namespace rpc {

// The status of a handler that threw: INTERNAL, logged.
absl::Status FromException(std::string_view method, const char* what);

// `body` returns absl::Status. `method` is a constant such as
// "JobService/GetJob"; `metrics` may be null (tests).
template <typename Body>
grpc::Status Handle(RpcMetrics* metrics, std::string_view method, Body&& body) {
  const absl::Duration start =
      metrics == nullptr ? absl::ZeroDuration() : metrics->clock()->Steady();
  absl::Status status;
  try {
    status = std::forward<Body>(body)();
  } catch (const std::exception& error) {
    status = FromException(method, error.what());
  } catch (...) {
    status = FromException(method, "not a std::exception");
  }
  if (metrics != nullptr) {
    metrics->Record(method, status.code(), metrics->clock()->Steady() - start);
  }
  return ToGrpcStatus(status);
}

}  // namespace rpc
}  // namespace dasm

#endif  // DASM_COMMON_RPC_HANDLER_H_
