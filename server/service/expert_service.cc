#include "server/service/expert_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "server/service/expert_catalog.h"
#include "server/service/page_size.h"

namespace dasm {
namespace {

constexpr int kSample = 100;
constexpr int kMostNames = 1000;

// What is to be pruned, by action key.
absl::StatusOr<std::vector<std::string>> Wanted(
    const v1::PruneExpertsRequest& request, ExpertCatalog* catalog) {
  if (request.names().empty() == request.filter().empty()) {
    return InvalidField("filter",
                        "give either names or a filter (\"*\" for all)");
  }
  if (request.names_size() > kMostNames) {
    return InvalidField("names", "at most 1000 at a time");
  }
  std::vector<std::string> keys;
  for (const std::string& name : request.names()) {
    DASM_ASSIGN_OR_RETURN(const ExpertCatalog::Found found,
                          catalog->Find(name, "names"));
    keys.push_back(found.group.key);
  }
  if (!keys.empty()) return keys;
  ExpertFilter filter;
  if (request.filter() != "*") {
    DASM_ASSIGN_OR_RETURN(filter, ParseExpertFilter(request.filter()));
  }
  return catalog->Select(filter);
}

}  // namespace

grpc::Status ExpertService::ListExperts(grpc::ServerContext*,
                                        const v1::ListExpertsRequest* request,
                                        v1::ListExpertsResponse* response) {
  return rpc::Handle(
      metrics_, "ExpertService/ListExperts", [&]() -> absl::Status {
        DASM_ASSIGN_OR_RETURN(const int size, PageSize(request->page_size()));
        ExpertCatalog catalog(store_);
        DASM_ASSIGN_OR_RETURN(
            ExpertCatalog::Page page,
            catalog.List(request->filter(), size, request->page_token()));
        for (v1::Expert& expert : page.experts) {
          *response->add_experts() = std::move(expert);
        }
        response->set_next_page_token(page.next_page_token);
        return absl::OkStatus();
      });
}

grpc::Status ExpertService::GetExpert(grpc::ServerContext*,
                                      const v1::GetExpertRequest* request,
                                      v1::Expert* response) {
  return rpc::Handle(
      metrics_, "ExpertService/GetExpert", [&]() -> absl::Status {
        ExpertCatalog catalog(store_);
        DASM_ASSIGN_OR_RETURN(const ExpertCatalog::Found found,
                              catalog.Find(request->name(), "name"));
        DASM_ASSIGN_OR_RETURN(
            *response,
            catalog.Describe(found.group, found.number, v1::EXPERT_VIEW_FULL));
        return absl::OkStatus();
      });
}

grpc::Status ExpertService::VerifyExpert(grpc::ServerContext*,
                                         const v1::VerifyExpertRequest* request,
                                         v1::VerifyExpertResponse* response) {
  return rpc::Handle(
      metrics_, "ExpertService/VerifyExpert", [&]() -> absl::Status {
        ExpertCatalog catalog(store_);
        DASM_ASSIGN_OR_RETURN(const ExpertCatalog::Found found,
                              catalog.Find(request->name(), "name"));
        DASM_ASSIGN_OR_RETURN(
            *response->mutable_expert(),
            catalog.Describe(found.group, found.number, v1::EXPERT_VIEW_BASIC));
        const std::string& digest = response->expert().digest();
        const absl::Status verified = blobs_->Verify(digest);
        if (verified.ok()) {
          response->set_result(v1::VerifyExpertResponse::RESULT_OK);
          return absl::OkStatus();
        }
        if (!absl::IsDataLoss(verified) && !absl::IsNotFound(verified)) {
          return verified;
        }
        response->set_result(absl::IsDataLoss(verified)
                                 ? v1::VerifyExpertResponse::RESULT_QUARANTINED
                                 : v1::VerifyExpertResponse::RESULT_MISSING);
        response->set_message(std::string(verified.message()));
        manager_->ReportBadBlob(digest);
        return absl::OkStatus();
      });
}

grpc::Status ExpertService::PruneExperts(grpc::ServerContext*,
                                         const v1::PruneExpertsRequest* request,
                                         v1::PruneExpertsResponse* response) {
  return rpc::Handle(
      metrics_, "ExpertService/PruneExperts", [&]() -> absl::Status {
        ExpertCatalog catalog(store_);
        DASM_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                              Wanted(*request, &catalog));
        DASM_ASSIGN_OR_RETURN(
            const JobManager::PruneOutcome outcome,
            manager_->PruneResults(keys, !request->names().empty(),
                                   request->validate_only()));
        response->set_pruned_bytes(outcome.bytes);
        int64_t count = 0;
        for (const ActionRecord& group : outcome.pruned) {
          DASM_ASSIGN_OR_RETURN(std::vector<v1::Expert> experts,
                                catalog.DescribeAll(group));
          count += static_cast<int64_t>(experts.size());
          for (v1::Expert& expert : experts) {
            if (response->pruned_size() == kSample) break;
            *response->add_pruned() = std::move(expert);
          }
        }
        response->set_pruned_count(count);
        count = 0;
        for (const ActionRecord& group : outcome.in_use) {
          DASM_ASSIGN_OR_RETURN(std::vector<v1::Expert> experts,
                                catalog.DescribeAll(group));
          count += static_cast<int64_t>(experts.size());
          for (v1::Expert& expert : experts) {
            if (response->in_use_size() == kSample) break;
            *response->add_in_use() = std::move(expert);
          }
        }
        response->set_in_use_count(count);
        return absl::OkStatus();
      });
}

}  // namespace dasm
