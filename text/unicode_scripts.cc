// The UnicodeScripts pre-tokenizer as a regular expression: a piece is a run of one script. Blanks
// and characters of no script stay with what is before them, and go where nothing is. Hiragana,
// Katakana and the prolonged sound mark count as Han. The scripts are those that Hugging Face
// tokenizers knows (Unicode 9). Tested by tests/text_components_test.cc.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "text/pattern.h"

namespace ninfer {
namespace {

constexpr char kScripts[] =
    "Adlam Ahom AnatolianHieroglyphs Arabic Armenian Avestan Balinese Bamum BassaVah Batak "
    "Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid CanadianAboriginal Carian "
    "CaucasianAlbanian Chakma Cham Cherokee Coptic Cuneiform Cypriot Cyrillic Deseret "
    "Devanagari Duployan EgyptianHieroglyphs Elbasan Ethiopic Georgian Glagolitic Gothic "
    "Grantha Greek Gujarati Gurmukhi Hangul Hanunoo Hatran Hebrew ImperialAramaic Inherited "
    "InscriptionalPahlavi InscriptionalParthian Javanese Kaithi Kannada KayahLi Kharoshthi "
    "Khmer Khojki Khudawadi Lao Latin Lepcha Limbu LinearA LinearB Lisu Lycian Lydian "
    "Mahajani Malayalam Mandaic Manichaean Marchen MeeteiMayek MendeKikakui MeroiticCursive "
    "MeroiticHieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean NewTaiLue Newa Nko "
    "Ogham OlChiki OldHungarian OldItalic OldNorthArabian OldPermic OldPersian "
    "OldSouthArabian OldTurkic Oriya Osage Osmanya PahawhHmong Palmyrene PauCinHau PhagsPa "
    "Phoenician PsalterPahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham "
    "SignWriting Sinhala SoraSompeng Sundanese SylotiNagri Syriac Tagalog Tagbanwa TaiLe "
    "TaiTham TaiViet Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Ugaritic "
    "Vai WarangCiti Yi";

}  // namespace

std::string UnicodeScriptsPattern() {
  constexpr char kJapanese[] = "\\p{sc:Han}\\p{sc:Hiragana}\\p{sc:Katakana}\\x{30FC}";
  constexpr char kNone[] = "\\x20\\p{sc:Unknown}";
  std::string pattern = absl::StrCat("[", kJapanese, "][", kJapanese, kNone, "]*",
                                     "|(?![\\x20\\x{30FC}])\\p{sc:Common}",
                                     "(?:(?!\\x{30FC})[\\p{sc:Common}\\p{sc:Unknown}])*");
  for (const absl::string_view script : absl::StrSplit(kScripts, ' ')) {
    absl::StrAppend(&pattern, "|\\p{sc:", script, "}[\\p{sc:", script, "}", kNone, "]*");
  }
  return pattern;
}

}  // namespace ninfer
