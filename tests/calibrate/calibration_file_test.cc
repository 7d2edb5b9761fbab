// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibration_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "calibrate/some_calibration.h"
#include "nextscale/error.h"
#include "support/temporary_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class CalibrationFiles : public testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "calibration.safetensors"; }

  // What reading says of the file.
  std::string refusal(ErrorCode code) const {
    try {
      read_calibration_file(path());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "";
  }

  // The sound file with one text replaced by another of the same length.
  std::string refusal_after(std::string_view from, std::string_view to) {
    CalibrationFile file = some_calibration();
    write_calibration_file(path(), file);
    std::string bytes = read_bytes(path());
    const size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    EXPECT_EQ(from.size(), to.size());
    write_bytes(path(), bytes.replace(at, from.size(), to));
    return refusal(ErrorCode::kBadFile);
  }

  TemporaryFolder folder_;
};

TEST_F(CalibrationFiles, HoldWhatWasWritten) {
  CalibrationFile written = some_calibration();
  written.header.imports = {{.method = "heatkv", .file = "orders.json", .sha256 = "ab"}};
  std::vector<LayerHead> order;
  for (int64_t layer = 2; layer >= 0; --layer) {
    for (int64_t head = 0; head < 2; ++head) order.push_back({layer, head});
  }
  written.values.removal_orders = {{}, {}, order, {}};
  written.values.layer_budgets = {0, 0, 0, 0, 0, 0, 5, 6, 7, 8, 9, 10};
  written.values.drafters = {0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0};
  write_calibration_file(path(), written);
  const CalibrationFile read = read_calibration_file(path());
  EXPECT_EQ(to_json(read.header), to_json(written.header));
  EXPECT_EQ(read.sha256, written.sha256);
  EXPECT_EQ(read.values.removal_orders, written.values.removal_orders);
  EXPECT_EQ(read.values.layer_budgets, written.values.layer_budgets);
  EXPECT_EQ(read.values.drafters, written.values.drafters);
  ASSERT_EQ(read.values.mass.size(), written.values.mass.size());
  for (size_t at = 0; at < read.values.mass.size(); ++at) {
    EXPECT_EQ(read.values.mass[at],
              static_cast<double>(static_cast<float>(written.values.mass[at])));
  }
  EXPECT_NO_THROW(require_calibration_of(read.values, some_geometry()));
}

TEST_F(CalibrationFiles, MayHoldImportedResultsAlone) {
  CalibrationFile written = some_calibration();
  written.header.source.reset();
  written.values.mass.clear();
  written.values.sigma.clear();
  written.values.asi.clear();
  write_calibration_file(path(), written);
  EXPECT_TRUE(read_calibration_file(path()).values.mass.empty());
}

TEST_F(CalibrationFiles, OfAnotherModelAreRefused) {
  CalibrationFile file = some_calibration();
  EXPECT_NO_THROW(require_model(file, path(), "0123456789abcdef", some_geometry()));
  EXPECT_THAT([&] { require_model(file, path(), "fedcba", some_geometry()); },
              testing::ThrowsMessage<Error>(HasSubstr("nextscale calibrate")));
  Geometry other = some_geometry();
  other.layers = 7;
  EXPECT_THAT([&] { require_model(file, path(), "0123456789abcdef", other); },
              testing::ThrowsMessage<Error>(HasSubstr("3 layers")));
}

TEST_F(CalibrationFiles, OtherFilesAreToldApart) {
  SafetensorsWriter(path(), {}, {{"format", "nextscale-trace"}}).finish();
  EXPECT_FALSE(is_calibration_file(path()));
  EXPECT_THAT(refusal(ErrorCode::kMismatch), HasSubstr("no calibration ('nextscale-trace'"));
  SafetensorsWriter(path(), {}, {{"format", "nextscale-calibration"}, {"version", "7"}}).finish();
  EXPECT_TRUE(is_calibration_file(path()));
  EXPECT_THAT(refusal(ErrorCode::kMismatch), HasSubstr("version '7', wanted 1"));
  write_bytes(path(), "nothing of the kind");
  EXPECT_FALSE(is_calibration_file(path()));
  fs::remove(path());
  EXPECT_NE(refusal(ErrorCode::kNotFound), "");
}

TEST_F(CalibrationFiles, WithImpossibleHeadersAreRefused) {
  EXPECT_THAT(refusal_after(R"(\"layers\":3)", R"(\"layers\":0)"), HasSubstr("'layers'"));
  EXPECT_THAT(refusal_after(R"(\"layers\":3)", R"(\"layers\":4)"),
              HasSubstr("is f32 [3, 2, 4, 4]"));
  EXPECT_THAT(refusal_after(R"(\"layers\":3)", R"(\"layerz\":3)"), HasSubstr("'layers'"));
  EXPECT_THAT(refusal_after(R"(\"kv_heads\":2)", R"(\"kv_heads\":3)"), HasSubstr("'kv_heads'"));
  EXPECT_THAT(refusal_after(R"(\"samples\":5)", R"(\"samples\":x)"), HasSubstr("json"));
  EXPECT_THAT(refusal_after(R"(\"samples\":5)", R"(\"samples\":0)"), HasSubstr("'samples'"));
  EXPECT_THAT(refusal_after(R"([6,5])", R"([6.5])"), HasSubstr("'scales'"));
  EXPECT_THAT(refusal_after(R"([6,5])", R"([0,5])"), HasSubstr("'scales'"));
  EXPECT_THAT(refusal_after("\"sigma\":", "\"sigmA\":"), HasSubstr("no tensor 'sigma'"));
}

TEST_F(CalibrationFiles, WithImpossibleNumbersAreRefused) {
  const auto refusal_with = [&](const std::function<void(Calibration&)>& change) {
    CalibrationFile file = some_calibration();
    change(file.values);
    write_calibration_file(path(), file);
    return refusal(ErrorCode::kBadFile);
  };
  EXPECT_EQ(refusal_with([](Calibration&) {}), "");
  EXPECT_THAT(refusal_with([](Calibration& values) { values.mass[7] = NAN; }), HasSubstr("'mass'"));
  EXPECT_THAT(refusal_with([](Calibration& values) { values.mass[7] = 1.5; }), HasSubstr("'mass'"));
  EXPECT_THAT(refusal_with([](Calibration& values) { values.sigma[1] = -1; }),
              HasSubstr("'sigma' holds -1"));
  EXPECT_THAT(refusal_with([](Calibration& values) { values.asi[1] = INFINITY; }),
              HasSubstr("'asi'"));
  EXPECT_THAT(refusal_with([](Calibration& values) {
                values.layer_budgets.assign(12, 54);
                values.drafters.assign(12, 0);
              }),
              HasSubstr("wanted 0 to 53"));
}

TEST_F(CalibrationFiles, DamagedNeverDoWorseThanThrow) {
  CalibrationFile file = some_calibration();
  write_calibration_file(path(), file);
  const std::string bytes = read_bytes(path());
  for (size_t flip = 0; flip < 500; ++flip) {
    std::string damaged = bytes;
    damaged[flip * 7919 % bytes.size()] ^= static_cast<char>(1 << (flip % 8));
    if (flip % 5 == 0) damaged.resize(flip * 7919 % bytes.size());
    write_bytes(path(), damaged);
    try {
      read_calibration_file(path());
    } catch (const Error&) {
    }
  }
}

TEST_F(CalibrationFiles, UnfinishedOnesHoldSumsExactly) {
  PartialCalibration written{.header = some_header(), .samples_done = 2, .sums = {}};
  written.sums = some_sums(some_geometry());
  written.sums.sequences = 4;
  const fs::path partial = partial_path(path());
  EXPECT_EQ(partial.filename(), "calibration.safetensors.partial");
  write_partial_calibration(partial, written);
  const PartialCalibration read = read_partial_calibration(partial);
  EXPECT_EQ(read.sums, written.sums);
  EXPECT_EQ(read.samples_done, 2);
  EXPECT_EQ(to_json(read.header), to_json(written.header));
  fs::rename(partial, path());
  EXPECT_THAT(refusal(ErrorCode::kMismatch), HasSubstr("no calibration"));
}

}  // namespace
}  // namespace nextscale
