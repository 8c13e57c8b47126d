//! The languages in which the assistant answers.

/// A language of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Hindi,
    Spanish,
    Telugu,
    Tamil,
}

impl Language {
    /// The language of an ISO 639-1 code, if the assistant knows it.
    pub(crate) fn parse(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::English),
            "hi" => Some(Self::Hindi),
            "es" => Some(Self::Spanish),
            "te" => Some(Self::Telugu),
            "ta" => Some(Self::Tamil),
            _ => None,
        }
    }

    /// Told in English and in the language itself: models follow the latter better.
    pub(super) const fn instruction(self) -> &'static str {
        match self {
            Self::English => "Answer in English.",
            Self::Hindi => "Answer in Hindi, in Devanagari script. कृपया हिंदी में उत्तर दें।",
            Self::Spanish => "Answer in Spanish. Por favor, responde en español.",
            Self::Telugu => "Answer in Telugu, in Telugu script. దయచేసి తెలుగులో సమాధానం ఇవ్వండి.",
            Self::Tamil => "Answer in Tamil, in Tamil script. தயவுசெய்து தமிழில் பதிலளிக்கவும்.",
        }
    }

    /// Tells the user that the answer was cut short after its first word.
    pub(super) const fn cut_short(self) -> &'static str {
        match self {
            Self::English => "(The answer was cut short.)",
            Self::Hindi => "(उत्तर अधूरा रह गया।)",
            Self::Spanish => "(La respuesta quedó incompleta.)",
            Self::Telugu => "(సమాధానం మధ్యలోనే ఆగిపోయింది.)",
            Self::Tamil => "(பதில் பாதியில் நின்றுவிட்டது.)",
        }
    }

    /// Tells the user that the answer was cut short before its first word.
    pub(super) const fn cut_short_before_a_word(self) -> &'static str {
        match self {
            Self::English => "(The answer was cut short before it began. Please ask again more briefly.)",
            Self::Hindi => "(उत्तर शुरू होने से पहले ही रुक गया। कृपया अपना प्रश्न थोड़े शब्दों में फिर से पूछें।)",
            Self::Spanish => {
                "(La respuesta se interrumpió antes de empezar. Por favor, vuelve a preguntar con menos palabras.)"
            }
            Self::Telugu => "(సమాధానం మొదలయ్యేలోపే ఆగిపోయింది. దయచేసి మీ ప్రశ్నను తక్కువ మాటల్లో మళ్లీ అడగండి.)",
            Self::Tamil => {
                "(பதில் தொடங்கும் முன்பே நின்றுவிட்டது. தயவுசெய்து உங்கள் கேள்வியைச் சுருக்கமாக மீண்டும் கேளுங்கள்.)"
            }
        }
    }
}
