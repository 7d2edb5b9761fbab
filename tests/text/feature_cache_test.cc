// SPDX-License-Identifier: Apache-2.0
#include "text/feature_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <vector>

#include "nextscale/error.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

const Ids kPrompt{12, 34, 8, 1};

Tensor features_of(const Ids& ids) {
  Tensor result(DType::kF32, {static_cast<int64_t>(ids.size()), 3});
  std::iota(result.as<float>(), result.as<float>() + result.shape().num_elements(), 0.5F);
  return result;
}

class FeatureCacheTest : public testing::Test {
 protected:
  FeatureCache cache(const std::string& encoder = "encoder") const {
    return {folder_.path() / "deep" / "cache", encoder, 3};
  }

  void overwrite(std::streamoff offset, char value) const {
    std::fstream file(cache().entry(kPrompt), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset, offset < 0 ? std::ios::end : std::ios::beg);
    file.put(value);
  }

  TemporaryFolder folder_;
};

TEST_F(FeatureCacheTest, GivesBackWhatWasStored) {
  const Tensor features = features_of(kPrompt);
  EXPECT_FALSE(cache().find(kPrompt).features);
  cache().store(kPrompt, features);
  const CachedFeatures found = cache().find(kPrompt);
  ASSERT_TRUE(found.features);
  EXPECT_EQ(found.note, "");
  EXPECT_EQ(std::memcmp(found.features->as<float>(), features.as<float>(), features.num_bytes()),
            0);
}

TEST_F(FeatureCacheTest, TellsPromptsAndEncodersApart) {
  cache().store(kPrompt, features_of(kPrompt));
  EXPECT_FALSE(cache().find(Ids{12, 34, 9, 1}).features);
  EXPECT_FALSE(cache("another").find(kPrompt).features);
}

TEST_F(FeatureCacheTest, DamagedEntriesAreNotedAndWrittenAnew) {
  for (const std::streamoff offset : {0, 12, 200, -1}) {
    cache().store(kPrompt, features_of(kPrompt));
    overwrite(offset, '\x5a');
    const CachedFeatures found = cache().find(kPrompt);
    EXPECT_FALSE(found.features) << offset;
    EXPECT_THAT(found.note, HasSubstr("damaged and will be written anew"));
  }
  std::ofstream(cache().entry(kPrompt)) << "";
  EXPECT_THAT(cache().find(kPrompt).note, HasSubstr("damaged"));
  cache().store(kPrompt, features_of(kPrompt));
  EXPECT_TRUE(cache().find(kPrompt).features);
}

TEST_F(FeatureCacheTest, SaysThatItsFolderCannotBeMade) {
  std::ofstream(folder_.path() / "file") << "x";
  EXPECT_THROW(FeatureCache(folder_.path() / "file" / "cache", "encoder", 3), Error);
}

}  // namespace
}  // namespace nextscale
