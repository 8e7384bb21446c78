// dasm.v1.JobService: parses, calls the manager or the store, converts. The
// streams run on the callback API, the rest on the sync API.
#ifndef DASM_SERVER_SERVICE_JOB_SERVICE_H_
#define DASM_SERVER_SERVICE_JOB_SERVICE_H_

#include "common/rpc/handler.h"
#include "dasm/v1/job_service.grpc.pb.h"
#include "server/manager/job_manager.h"
#include "server/service/work_pool.h"
#include "server/store/job_store.h"
#include "server/store/telemetry_store.h"

namespace dasm {

class JobService final : public v1::JobService::WithCallbackMethod_WatchJob<
                             v1::JobService::WithCallbackMethod_ReadLogs<
                                 v1::JobService::Service>> {
 public:
  // Borrows all of them; `metrics` may be null.
  JobService(JobManager* manager, JobStore* store, TelemetryStore* telemetry,
             WorkPool* pool, RpcMetrics* metrics)
      : manager_(manager),
        store_(store),
        telemetry_(telemetry),
        pool_(pool),
        metrics_(metrics) {}

  grpc::Status CreateJob(grpc::ServerContext* context,
                         const v1::CreateJobRequest* request,
                         v1::Job* response) override;
  grpc::Status ExplainJob(grpc::ServerContext* context,
                          const v1::ExplainJobRequest* request,
                          v1::ExplainJobResponse* response) override;
  grpc::Status GetJob(grpc::ServerContext* context,
                      const v1::GetJobRequest* request,
                      v1::Job* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context,
                        const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
  grpc::Status CancelJob(grpc::ServerContext* context,
                         const v1::CancelJobRequest* request,
                         v1::Job* response) override;
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(
      grpc::CallbackServerContext* context,
      const v1::WatchJobRequest* request) override;
  grpc::Status GetJobReport(grpc::ServerContext* context,
                            const v1::GetJobReportRequest* request,
                            v1::JobReport* response) override;
  grpc::Status ListMetrics(grpc::ServerContext* context,
                           const v1::ListMetricsRequest* request,
                           v1::ListMetricsResponse* response) override;
  grpc::ServerWriteReactor<v1::LogLine>* ReadLogs(
      grpc::CallbackServerContext* context,
      const v1::ReadLogsRequest* request) override;
  grpc::Status ListPresets(grpc::ServerContext* context,
                           const v1::ListPresetsRequest* request,
                           v1::ListPresetsResponse* response) override;

 private:
  JobManager* const manager_;
  JobStore* const store_;
  TelemetryStore* const telemetry_;
  WorkPool* const pool_;
  RpcMetrics* const metrics_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_JOB_SERVICE_H_
