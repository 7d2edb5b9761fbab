// SPDX-License-Identifier: Apache-2.0
// The cost columns of HACK++ (arXiv 2606.08302), tables I to III and X, from this engine's own
// policies. Every row of the published tables is here, also those that no counting explains.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "plan/paper_plan.h"

namespace nextscale {
namespace {

constexpr double kGigabyte = 0x1p30;
constexpr double kTera = 1e12;

struct Cost {
  const char* gigabytes;
  const char* teraflops;
};

struct Row {
  const char* model;
  const char* kv;
  Cost paper;
  int64_t images = 1;
};

PaperPlan plan_of(const Row& row) {
  const KnownModel& known = *find_known_model(row.model);
  const PaperModel model = paper_model(known, find_picture(known, ""));
  return plan_as_papers_do(model, parse_policy_spec(row.kv), nullptr, row.images);
}

std::string gigabytes(const PaperPlan& plan) {
  return fmt::format("{:.2f}", plan.kv_bytes / kGigabyte);
}

double attention_teraflops(const PaperPlan& plan) {
  return total_attention_flops(plan.steps) / kTera;
}

std::string teraflops(double value) { return fmt::format("{:.2f}", value); }

// Readable names of parametrized tests.
void PrintTo(const Row& row, std::ostream* stream) { *stream << row.model << " " << row.kv; }

// ---- Rows that must come out to the printed digit -----------------------------------------------

class ExactRow : public testing::TestWithParam<Row> {};

TEST_P(ExactRow, IsReproducedToThePrintedDigit) {
  const PaperPlan plan = plan_of(GetParam());
  EXPECT_EQ(gigabytes(plan), GetParam().paper.gigabytes);
  EXPECT_EQ(teraflops(attention_teraflops(plan)), GetParam().paper.teraflops);
}

INSTANTIATE_TEST_SUITE_P(FullCache, ExactRow,
                         testing::Values(Row{"infinity-2b", "full", {"7.71", "35.91"}},
                                         Row{"infinity-8b", "full", {"16.86", "78.54"}},
                                         Row{"hart", "full", {"2.68", "17.66"}},
                                         Row{"var-d30", "full", {"14.01", "4.22"}, 32},
                                         Row{"var-d24", "full", {"8.96", "2.70"}, 32},
                                         Row{"vargpt-v1.1", "full", {"1.23", "2.09"}},
                                         Row{"onecat-3b", "full", {"0.72", "40.66"}}));

// Six adapted baselines share one line of cost.
std::vector<Row> baselines() {
  std::vector<Row> rows;
  for (const char* kv : {"streaming:budget=30%", "h2o:budget=30%", "snapkv:budget=30%",
                         "cake:budget=30%", "lookm:budget=30%", "meda:budget=30%"}) {
    rows.push_back({"infinity-2b", kv, {"2.31", "15.34"}});
    rows.push_back({"infinity-8b", kv, {"5.06", "33.55"}});
    rows.push_back({"hart", kv, {"0.80", "7.40"}});
    rows.push_back({"var-d30", kv, {"4.20", "1.80"}, 32});
    rows.push_back({"var-d24", kv, {"2.69", "1.15"}, 32});
  }
  for (const char* kv : {"streaming:budget=50%", "h2o:budget=50%", "snapkv:budget=50%",
                         "cake:budget=50%", "lookm:budget=50%", "meda:budget=50%"}) {
    rows.push_back({"var-d30", kv, {"7.00", "2.73"}, 32});
    rows.push_back({"var-d24", kv, {"4.48", "1.75"}, 32});
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Baselines, ExactRow, testing::ValuesIn(baselines()));

INSTANTIATE_TEST_SUITE_P(Hack, ExactRow,
                         testing::Values(Row{"infinity-8b", "hack:budget=30%", {"5.06", "33.54"}},
                                         Row{"var-d30", "hack:budget=50%", {"7.00", "2.73"}, 32},
                                         Row{"vargpt-v1.1", "hack:budget=30%", {"0.37", "0.89"}}));

INSTANTIATE_TEST_SUITE_P(
    ScaleKv, ExactRow,
    testing::Values(Row{"infinity-2b", "scalekv:cache=10%", {"0.77", "19.19"}},
                    Row{"infinity-2b", "scalekv:cache=1%", {"0.08", "14.35"}},
                    Row{"infinity-8b", "scalekv:cache=10%", {"1.69", "41.98"}},
                    Row{"infinity-8b", "scalekv:cache=1%", {"0.17", "31.40"}}));

INSTANTIATE_TEST_SUITE_P(
    HackPlusPlus, ExactRow,
    testing::Values(Row{"infinity-2b", "hackpp:attn=30%,cache=1%", {"0.08", "12.11"}},
                    Row{"infinity-8b", "hackpp:attn=30%,cache=1%", {"0.17", "26.50"}},
                    Row{"vargpt-v1.1", "hackpp:attn=30%,cache=10%", {"0.12", "0.87"}}));

// ---- Rows whose FLOPs depend on the calibration that the authors had ----------------------------

struct BoundRow {
  Row row;
  double most_teraflops;  // with budgets as equal as they can be
};

void PrintTo(const BoundRow& bound, std::ostream* stream) { PrintTo(bound.row, stream); }

class Bound : public testing::TestWithParam<BoundRow> {};

// Unequal budgets of the same mean attend less, so equal ones lie between the paper and the bound.
TEST_P(Bound, EqualBudgetsReachTheBoundAndLieAboveThePaper) {
  const auto& [row, most] = GetParam();
  const PaperPlan plan = plan_of(row);
  EXPECT_EQ(gigabytes(plan), row.paper.gigabytes);
  EXPECT_LE(attention_teraflops(plan), most + 0.0005);
  EXPECT_GE(attention_teraflops(plan), std::stod(row.paper.teraflops) - 0.005);
}

INSTANTIATE_TEST_SUITE_P(
    HackPlusPlus, Bound,
    testing::Values(
        BoundRow{{"infinity-2b", "hackpp:attn=30%,cache=10%", {"0.77", "14.32"}}, 14.674},
        BoundRow{{"infinity-8b", "hackpp:attn=30%,cache=10%", {"1.69", "31.53"}}, 32.100},
        BoundRow{{"var-d30", "hackpp:attn=50%,cache=30%", {"4.20", "2.59"}, 32}, 2.731},
        BoundRow{{"var-d30", "hackpp:attn=30%,cache=20%", {"2.80", "1.78"}, 32}, 1.803},
        BoundRow{{"var-d24", "hackpp:attn=50%,cache=30%", {"2.69", "1.66"}, 32}, 1.748},
        BoundRow{{"var-d24", "hackpp:attn=30%,cache=20%", {"1.79", "1.14"}, 32}, 1.154},
        BoundRow{{"onecat-3b", "hackpp:attn=30%,cache=10%", {"0.07", "16.55"}}, 16.775}));

// ---- Table X: projections and scoring included --------------------------------------------------

class TableTen : public testing::TestWithParam<Row> {};

TEST_P(TableTen, AddsProjectionsAndScoring) {
  const PaperPlan plan = plan_of(GetParam());
  EXPECT_EQ(gigabytes(plan), GetParam().paper.gigabytes);
  const double flops = total_attention_flops(plan.steps) + total_projection_flops(plan.steps) +
                       total_scoring_flops(plan.steps);
  EXPECT_EQ(teraflops(flops / kTera), GetParam().paper.teraflops);
}

INSTANTIATE_TEST_SUITE_P(
    Infinity2b, TableTen,
    testing::Values(Row{"infinity-2b", "full", {"7.71", "58.50"}},
                    Row{"infinity-2b", "hackpp:attn=30%,cache=100%", {"7.71", "37.96"}},
                    Row{"infinity-2b", "hackpp:attn=100%,cache=10%", {"0.77", "41.81"}}));

// With both budgets the paper's attention is the calibrated 14.32; all else must fit.
TEST(TableTenWithBothBudgets, ProjectionsAndScoringFillTheRestOfThePaper) {
  const PaperPlan plan = plan_of({"infinity-2b", "hackpp:attn=30%,cache=10%", {"", ""}});
  const double others =
      (total_projection_flops(plan.steps) + total_scoring_flops(plan.steps)) / kTera;
  EXPECT_EQ(teraflops(14.32 + others), "36.94");
}

// ---- HeatKV with its published rankings, percentages of the history (methods.md 15.4) -----------

Calibration published_ranking(const Geometry& geometry, const std::string& file) {
  constexpr size_t kFirstRanked = 3;
  Calibration calibration = flat_calibration(geometry);
  calibration.removal_orders.resize(geometry.scales.size());
  std::ifstream stream(std::string(NEXTSCALE_TEST_DATA) + "/methods/official/" + file);
  size_t scale = kFirstRanked;
  for (const auto& order : nlohmann::json::parse(stream)) {
    for (const auto& pair : order) {
      calibration.removal_orders[scale].push_back({.layer = pair[1], .head = pair[0]});
    }
    ++scale;
  }
  return calibration;
}

struct HeatRow {
  const char* model;
  const char* orders;
  const char* kv;
  double tokens;
  const char* gigabytes;
  const char* teraflops;
};

void PrintTo(const HeatRow& row, std::ostream* stream) { *stream << row.model << " " << row.kv; }

class HeatKv : public testing::TestWithParam<HeatRow> {};

TEST_P(HeatKv, CostsWhatTheOfficialScheduleCosts) {
  const HeatRow& row = GetParam();
  const KnownModel& known = *find_known_model(row.model);
  const PaperModel model = paper_model(known, find_picture(known, ""));
  const Calibration calibration = published_ranking(model.geometry, row.orders);
  const PaperPlan plan = plan_as_papers_do(model, parse_policy_spec(row.kv), &calibration, 1);
  EXPECT_NEAR(plan.cached_tokens, row.tokens, 0.05);
  EXPECT_EQ(fmt::format("{:.3f}", plan.kv_bytes / kGigabyte), row.gigabytes);
  EXPECT_EQ(teraflops(attention_teraflops(plan)), row.teraflops);
}

constexpr const char* k2bOrders = "heatkv_orders_2b.json";
constexpr const char* k8bOrders = "heatkv_orders_8b.json";

INSTANTIATE_TEST_SUITE_P(
    Infinity, HeatKv,
    testing::Values(
        HeatRow{"infinity-2b", k2bOrders, "heatkv:cache=10%,of=history", 633.9, "0.464", "17.01"},
        HeatRow{"infinity-2b", k2bOrders, "heatkv:cache=5%,of=history", 321.2, "0.235", "15.43"},
        HeatRow{"infinity-2b", k2bOrders, "heatkv:cache=1%,of=history", 61.0, "0.045", "14.09"},
        HeatRow{"infinity-8b", k8bOrders, "heatkv:cache=10%,of=history", 638.5, "1.023", "37.14"},
        HeatRow{"infinity-8b", k8bOrders, "heatkv:cache=5%,of=history", 318.3, "0.510", "33.71"},
        HeatRow{"infinity-8b", k8bOrders, "heatkv:cache=1%,of=history", 61.0, "0.098", "30.86"}));

// ---- Rows that no counting explains -------------------------------------------------------------

struct UnexplainedRow {
  Row row;
  Cost ours;
  const char* reason;
};

void PrintTo(const UnexplainedRow& unexplained, std::ostream* stream) {
  PrintTo(unexplained.row, stream);
}

class Unexplained : public testing::TestWithParam<UnexplainedRow> {};

TEST_P(Unexplained, OursIsWhatTheBudgetSays) {
  const PaperPlan plan = plan_of(GetParam().row);
  EXPECT_EQ(gigabytes(plan), GetParam().ours.gigabytes) << GetParam().reason;
  EXPECT_EQ(teraflops(attention_teraflops(plan)), GetParam().ours.teraflops) << GetParam().reason;
}

constexpr const char* kClipped =
    "the paper keeps some 3 % more than the budget where structural heads protect whole scales";
constexpr const char* kText = "the paper's cache exceeds the budget by about the 300 text tokens";

INSTANTIATE_TEST_SUITE_P(
    All, Unexplained,
    testing::Values(
        UnexplainedRow{{"infinity-2b", "hack:budget=30%", {"2.31", "15.34"}},
                       {"2.31", "15.33"},
                       "the split of a whole budget between two classes of heads rounds down"},
        UnexplainedRow{{"hart", "hack:budget=30%", {"0.84", "7.40"}}, {"0.80", "7.40"}, kText},
        UnexplainedRow{{"var-d24", "hack:budget=50%", {"4.48", "1.76"}, 32},
                       {"4.48", "1.75"},
                       "the paper is 0.01 above the budget"},
        UnexplainedRow{
            {"var-d30", "hack:budget=30%", {"4.20", "1.86"}, 32}, {"4.20", "1.80"}, kClipped},
        UnexplainedRow{
            {"var-d24", "hack:budget=30%", {"2.69", "1.19"}, 32}, {"2.69", "1.15"}, kClipped},
        UnexplainedRow{{"onecat-3b", "hack:budget=30%", {"0.26", "18.58"}},
                       {"0.22", "17.52"},
                       "the paper keeps 36 %: perhaps a union over the query heads of a kv head"},
        UnexplainedRow{
            {"hart", "hackpp:attn=30%,cache=20%", {"0.61", "7.39"}}, {"0.54", "7.40"}, kText}));

}  // namespace
}  // namespace nextscale
