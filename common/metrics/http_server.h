// The diagnostics port: /livez, /readyz, /metrics.
#ifndef DASM_COMMON_METRICS_HTTP_SERVER_H_
#define DASM_COMMON_METRICS_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/metrics/metrics.h"

namespace dasm {

// Serves on its own threads until destroyed.
class HttpServer {
 public:
  struct Options {
    std::string address;  // "host:port"; port 0: any free one
    // Empty: ready; else why not (answered with 503).
    std::function<std::string()> readiness;
  };
  // INVALID_ARGUMENT (field "http") or FAILED_PRECONDITION (address in use).
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options,
                                                           Metrics* metrics);
  virtual ~HttpServer() = default;
  // "127.0.0.1:41234", the port resolved.
  virtual std::string address() const = 0;
};

}  // namespace dasm

#endif  // DASM_COMMON_METRICS_HTTP_SERVER_H_
